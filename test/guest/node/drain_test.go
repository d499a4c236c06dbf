package node

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/test/guest/world"
)

// contained is what a container is to a volume: it has the published path, $0, at a place of its own, $2, and sees nothing of
// kubelet's folder, $1.
const contained = `mkdir "$2"; mount -o bind "$0" "$2"; umount -l "$0"; umount -l "$1/globalmount"; umount -l "$1"; echo ready; read line || true`

// A node plugin that is told to end serves until the volumes of pods that ended are unstaged, so that a node can be shut down
// without a volume left behind. In an update it doesn't wait for the pods, which go on using their volumes.
func TestANodePluginThatIsToldToEnd(t *testing.T) {
	for name, podEnded := range map[string]bool{"when the node is shut down": true, "when it is updated": false} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, world.Options{})
			own := r.NodeServer
			socket := filepath.Join(t.TempDir(), "csi.sock")
			process, printed := rdsCSI(t, "--endpoint", "unix://"+socket, "--machine-id", "machine-a", "--kubelet-dir", "")
			if err := process.Start(); err != nil {
				t.Fatal(err)
			}
			r.NodeServer = dialPlugin(t, socket)
			v := r.create(t, "pvc-1", "ext4", nil)
			v.bring(t)
			if err := v.write(1); err != nil {
				t.Fatal(err)
			}
			container := use(t, contained, v.target(), v.folder, filepath.Join(t.TempDir(), "place"))
			if podEnded {
				container.end(t)
			}
			if err := process.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			if podEnded {
				// Longer than it waits for pods that are ending.
				<-time.After(8 * time.Second)
				twice(t, "unpublish", v.unpublish)
				if err := v.unstage(t); err != nil {
					t.Errorf("unstage: %v", err)
				}
			}
			if err := process.Wait(); err != nil {
				t.Errorf("it ended with %v:\n%s", err, printed)
			}
			if strings.Contains(printed.String(), "Ending all the same") {
				t.Errorf("it waited for as long as it may:\n%s", printed)
			}
			if connected := len(world.Controllers(v.nqn())) > 0; connected == podEnded {
				t.Errorf("connected: %t, and it printed:\n%s", connected, printed)
			}
			r.NodeServer = own
			if !podEnded {
				container.end(t)
			}
			v.home(t)
		})
	}
}

// Who is told twice, as by a person at a keyboard, ends at once.
func TestANodePluginThatIsToldTwiceEndsAtOnce(t *testing.T) {
	r := newRig(t, world.Options{})
	own := r.NodeServer
	socket := filepath.Join(t.TempDir(), "csi.sock")
	process, printed := rdsCSI(t, "--endpoint", "unix://"+socket, "--machine-id", "machine-a", "--kubelet-dir", "", "--drain-timeout", "1h")
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	r.NodeServer = dialPlugin(t, socket)
	v := r.create(t, "pvc-1", "block", nil)
	v.bring(t)
	ended := make(chan error, 1)
	go func() { ended <- process.Wait() }()
	world.Eventually(t, "it ends", func() bool {
		_ = process.Process.Signal(syscall.SIGTERM)
		return len(ended) > 0
	})
	if err := <-ended; err == nil || err.Error() != "signal: terminated" {
		t.Errorf("it ended with %v:\n%s", err, printed)
	}
	r.NodeServer = own
	v.home(t)
}
