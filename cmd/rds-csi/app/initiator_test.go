package app

import (
	"bytes"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"
	"k8s.io/klog/v2/textlogger"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/node/host"
)

// Whatever becomes of the start, the log says which capabilities are lacking.
func TestANodePluginThatStartsLogsWhatItLacks(t *testing.T) {
	var log bytes.Buffer
	logger := textlogger.NewLogger(textlogger.NewConfig(textlogger.Output(&log)))
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked, so that the thread ends here
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		err := unix.Capset(&header, &none[0])
		if err == nil {
			_ = connectAndServe(klog.NewContext(t.Context(), logger), &NodeOptions{MachineID: "machine-1"}) // it has no name, and can't start
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for _, c := range host.Capabilities() {
		if !strings.Contains(log.String(), c.String()) {
			t.Errorf("the log doesn't name %s:\n%s", c, &log)
		}
	}
}
