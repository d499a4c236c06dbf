package world

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/klog/v2"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
)

// Patience is how long a test waits for what must happen; a guest may be ten times slower than a machine.
const Patience = 30 * time.Second

// Eventually waits until the condition holds, and fails the test if it never does.
func Eventually(tb testing.TB, what string, holds func() bool) {
	tb.Helper()
	for deadline := time.Now().Add(Patience); !holds(); <-time.After(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			tb.Fatalf("not within %s: %s", Patience, what)
		}
	}
}

// Connect asks the kernel for a controller of the subsystem, with more options such as "reconnect_delay=1", and returns
// the controller's name. The caller disconnects.
func Connect(nqn string, host nvme.HostIdentity, options ...string) (controller string, err error) {
	return ConnectTo(Target, nqn, host, options...)
}

// ConnectTo is Connect with a target elsewhere, as host:port.
func ConnectTo(target, nqn string, host nvme.HostIdentity, options ...string) (controller string, err error) {
	address, port, _ := strings.Cut(target, ":")
	wish := append([]string{
		"transport=tcp", "traddr=" + address, "trsvcid=" + port, "nqn=" + nqn, "hostnqn=" + host.NQN, "hostid=" + host.ID,
	}, options...)
	fabrics, err := os.OpenFile("/dev/nvme-fabrics", os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, fabrics.Close()) }()
	if _, err := fabrics.WriteString(strings.Join(wish, ",")); err != nil {
		return "", err
	}
	answer := make([]byte, 256)
	n, err := fabrics.Read(answer)
	if err != nil {
		return "", err
	}
	instance := 0
	if _, err := fmt.Sscanf(string(answer[:n]), "instance=%d", &instance); err != nil {
		return "", fmt.Errorf("the kernel answered %q: %w", answer[:n], err)
	}
	return fmt.Sprintf("nvme%d", instance), nil
}

// MustConnect connects until the test ends, and waits for the device.
func MustConnect(tb testing.TB, nqn string, host nvme.HostIdentity, options ...string) (controller, device string) {
	tb.Helper()
	controller, err := Connect(nqn, host, options...)
	if err != nil {
		tb.Fatalf("connect to %s: %v", nqn, err)
	}
	tb.Cleanup(func() { DisconnectAll(nqn) })
	Eventually(tb, "a device of "+nqn, func() bool {
		device = Device(nqn)
		return device != ""
	})
	return controller, device
}

// Controllers lists the names of the subsystem's controllers that the kernel has.
func Controllers(nqn string) []string {
	var names []string
	folders, _ := filepath.Glob("/sys/class/nvme/nvme*")
	for _, folder := range folders {
		if attribute(folder, "subsysnqn") == nqn {
			names = append(names, filepath.Base(folder))
		}
	}
	return names
}

// State is the kernel's word for a controller, "gone" if it has none of that name.
func State(controller string) string {
	state := attribute("/sys/class/nvme/"+controller, "state")
	if state == "" {
		return "gone"
	}
	return state
}

// Reset has the kernel break the controller's connection and make it anew.
func Reset(controller string) {
	_ = os.WriteFile("/sys/class/nvme/"+controller+"/reset_controller", []byte("1"), 0)
}

// DisconnectAll removes every controller of the subsystem. Linux 6.1 sometimes hangs for ever in removing one that was refused
// while it was being reset. So programs of their own do it, which are left behind then: a process that hangs in the kernel
// can't end.
func DisconnectAll(nqn string) {
	for _, controller := range Controllers(nqn) {
		remove := exec.Command("sh", "-c", `echo 1 > "$0"`, "/sys/class/nvme/"+controller+"/delete_controller") //nolint:gosec,noctx // a path of sysfs; nothing ends it
		if remove.Start() != nil {
			continue
		}
		ended := make(chan struct{})
		go func() {
			_ = remove.Wait() // somebody else may have removed it
			close(ended)
		}()
		select {
		case <-ended:
		case <-time.After(Patience):
			klog.Background().Info("The kernel hangs in removing a controller", "controller", controller, "subsystemNQN", nqn)
		}
	}
}

// Device is the path of the subsystem's block device, "" while there is none that can be opened, which it can't for a moment after
// it appeared. With the kernel's multipath it belongs to the subsystem and the controllers have hidden ones, otherwise to the controller.
func Device(nqn string) string {
	subsystems, _ := filepath.Glob("/sys/class/nvme-subsystem/nvme-subsys*")
	for _, subsystem := range subsystems {
		if attribute(subsystem, "subsysnqn") != nqn {
			continue
		}
		shared, _ := filepath.Glob(subsystem + "/nvme*n*")
		single, _ := filepath.Glob(subsystem + "/nvme*/nvme*n*")
		for _, entry := range append(shared, single...) {
			device := "/dev/" + filepath.Base(entry)
			if file, err := os.Open(device); err == nil { //nolint:gosec // a name of sysfs
				_ = file.Close()
				return device
			}
		}
	}
	return ""
}

func attribute(folder, name string) string {
	value, _ := os.ReadFile(filepath.Join(folder, name)) //nolint:gosec // a file of sysfs
	return strings.TrimSpace(string(value))
}
