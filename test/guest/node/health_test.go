package node

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"git.srvlab.io/whiskey/rds-csi-driver/test/guest/world"
)

// A connection that is lost, that the kernel restores, and whose device another one replaced.
func TestHealthOfConnections(t *testing.T) {
	r := newRig(t, world.Options{Sim: faithful})
	v := r.create(t, "pvc-1", "ext4", quick())
	v.bring(t)
	r.powerOff(t)
	v.becomes(t, "ConnectionBroken")
	r.powerOn()
	v.becomes(t)
	world.DisconnectAll(v.nqn())
	if got := v.unwell(t); !slices.Equal(got, []string{"ConnectionLost"}) {
		t.Errorf("health without a connection: %q, want ConnectionLost", got)
	}
	v.becomes(t, "DeviceReplaced")
	world.Eventually(t, "published again", func() bool { return v.publish(t) == nil })
	v.becomes(t)
	v.home(t)
}

// becomes waits until the volume is unwell for these reasons only.
func (v *volume) becomes(t *testing.T, reasons ...string) {
	t.Helper()
	var got []string
	defer func() {
		if !slices.Equal(got, reasons) {
			t.Errorf("health: %q, want %q", got, reasons)
		}
	}()
	world.Eventually(t, "the volume's health", func() bool { got = v.unwell(t); return slices.Equal(got, reasons) })
}

// outage fails what a pod writes and syncs, and ends.
func (v *volume) outage(t *testing.T) {
	t.Helper()
	v.r.powerOff(t)
	v.becomes(t, "ConnectionBroken")
	folder, err := os.Open(v.target())
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(v.write(2), unix.Syncfs(int(folder.Fd())), folder.Close())
	// Without multipath, the block layer's own error for a lost path comes through if it meets the data and not the journal.
	if !errors.Is(err, unix.EIO) && !errors.Is(err, unix.ENOLINK) {
		t.Errorf("write in the outage: %v, want an I/O error", err)
	}
	v.r.powerOn()
	world.Eventually(t, "live", func() bool {
		names := world.Controllers(v.nqn())
		return len(names) == 1 && world.State(names[0]) == "live"
	})
}

// shutDown has the filesystem shut itself down.
func (v *volume) shutDown(t *testing.T) {
	t.Helper()
	if output, err := exec.CommandContext(t.Context(), "xfs_io", "-x", "-c", "shutdown", v.staging()).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
}

// findError has ext4 find an error in itself.
func (v *volume) findError(t *testing.T) {
	t.Helper()
	if err := os.WriteFile("/sys/fs/ext4/"+filepath.Base(world.Device(v.nqn()))+"/trigger_fs_error", []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
}

// ext4Failed is how ext4 fails: Linux 6.12 shuts it down, and 6.1 still reads it.
func ext4Failed(t *testing.T) string {
	t.Helper()
	if takesRefusals(t) {
		return "FilesystemShutDown"
	}
	return "FilesystemReadOnly"
}

// A filesystem that failed doesn't get better by itself. It is reported, no pod gets it, and it is mounted again, checked,
// once its pod is gone.
func TestAFailedFilesystemIsNotGivenToTheNextPod(t *testing.T) {
	for name, c := range map[string]struct {
		kind string
		fail func(*volume, *testing.T)
		want string
	}{
		"ext4 after an outage": {"ext4", (*volume).outage, ext4Failed(t)},
		"ext4 after an error":  {"ext4", (*volume).findError, ext4Failed(t)},
		"ext4 shut down":       {"ext4", (*volume).shutDown, "FilesystemShutDown"},
		"xfs after an outage":  {"xfs", (*volume).outage, "FilesystemShutDown"},
		"xfs shut down":        {"xfs", (*volume).shutDown, "FilesystemShutDown"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, world.Options{Sim: faithful})
			v := r.create(t, "pvc-1", c.kind, map[string]string{"reconnect_delay": "1", "fast_io_fail_tmo": "2"})
			v.bring(t)
			if err := v.write(1); err != nil {
				t.Fatal(err)
			}
			c.fail(v, t)
			for range 2 { // a look must not hide it from the next one
				if got := v.unwell(t); !slices.Equal(got, []string{c.want}) {
					t.Errorf("health: %q, want %s", got, c.want)
				}
			}
			if err := v.publish(t); err == nil {
				t.Error("published though the filesystem failed under a pod")
			} else {
				t.Log(err)
			}
			twice(t, "unpublish", v.unpublish)
			u := use(t, `echo ready; read line || true`)
			if err := v.stage(t); err == nil {
				t.Error("staged though somebody has the filesystem that failed")
			} else {
				t.Log(err)
			}
			u.end(t)
			began := time.Now()
			twice(t, "publish to the next pod", v.publish)
			t.Logf("mounted again in %.1f s", time.Since(began).Seconds())
			if !v.holds(t, 1) || v.write(3) != nil || !v.holds(t, 3) {
				t.Error("the next pod can't use the volume")
			}
			v.becomes(t)
			v.home(t)
		})
	}
}
