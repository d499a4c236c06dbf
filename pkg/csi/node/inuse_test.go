package node

import (
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/node/host"
)

// fakeUses is what a kernel tells of the users of devices beyond its mount table.
type fakeUses struct {
	claimed             bool // in another mount namespace
	users               []host.User
	usersFail           error
	syncFail, flushFail error
	onFlush             func()
	did                 []string
	claims              int
	// readFail and writeFail are what a filesystem that failed returns, until it is unmounted.
	readFail, writeFail error
	thenFail            error // from the second write on
	tried               []string
}

func (u *fakeUses) does(what, path string) { u.did = append(u.did, what+" "+filepath.Base(path)) }

func (m *fakeMounts) TryRead(path string) error {
	m.uses.tried = append(m.uses.tried, path)
	return m.uses.readFail
}

func (m *fakeMounts) TryWrite(path string) error {
	m.uses.tried = append(m.uses.tried, path)
	err := m.uses.writeFail
	m.uses.writeFail = cmp.Or(m.uses.thenFail, err)
	return err
}

func (m *fakeMounts) Sync(path string) error {
	m.uses.does("sync", path)
	return m.uses.syncFail
}

func (m *fakeMounts) Flush(device string) error {
	m.uses.does("flush", device)
	if m.uses.onFlush != nil {
		m.uses.onFlush()
	}
	return m.uses.flushFail
}

// Claim fails as a kernel's does, for what is mounted here as a filesystem or claimed elsewhere.
func (m *fakeMounts) Claim(device string) (io.Closer, error) {
	number, known := m.numbers[device]
	if !known {
		return nil, &os.PathError{Op: "open", Path: device, Err: os.ErrNotExist}
	}
	m.mutex.Lock()
	defer m.mutex.Unlock()
	busy := m.uses.claimed
	for _, entry := range m.table {
		busy = busy || host.DeviceNumber(unix.Mkdev(uint32(entry.Major), uint32(entry.Minor))) == number
	}
	if busy {
		return nil, &os.PathError{Op: "open", Path: device, Err: unix.EBUSY}
	}
	m.uses.claims++
	return openDevice(func() { m.uses.claims-- }), nil
}

func (m *fakeMounts) Users(context.Context, host.DeviceNumber) ([]host.User, error) {
	return m.uses.users, m.uses.usersFail
}

// Whoever uses the device, unstaging refuses and stays connected, says who it is, and succeeds once the user is gone.
func TestUnstageRefusesWhileTheDeviceIsUsed(t *testing.T) {
	reader := host.User{Name: "process 7 (dd)", Use: "has it open"}
	for name, c := range map[string]struct {
		uses fakeUses
		want string
	}{
		"mounted elsewhere":         {fakeUses{claimed: true, users: []host.User{{Name: "process 8 (sh)", Use: "has it mounted"}}}, "process 8 (sh) has it mounted"},
		"claimed by nobody known":   {fakeUses{claimed: true}, "no process"},
		"claimed, users not known":  {fakeUses{claimed: true, usersFail: errors.New("no /proc")}, "no /proc"},
		"open":                      {fakeUses{users: []host.User{reader}}, reader.String()},
		"open by more than a named": {fakeUses{users: []host.User{{Name: "a"}, {Name: "b"}, {Name: "c"}, {Name: "d"}, reader}}, "and 1 more"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newNodeWorld(t)
			w.mustStage(t, epochA)
			w.mounts.uses = c.uses
			synctest.Test(t, func(t *testing.T) {
				for range 2 {
					err := w.unstage(t)
					if failure.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), c.want) {
						t.Errorf("unstage: %v, want FailedPrecondition and %q", err, c.want)
					}
				}
			})
			if len(w.connector.disconnected) != 0 || len(w.connector.devices) != 1 {
				t.Errorf("disconnected %v under a user", w.connector.disconnected)
			}
			w.mounts.uses = fakeUses{}
			w.mustRemove(t)
		})
	}
}

// Nothing proves that a device is unused if the processes can't be read.
func TestUnstageRefusesWithoutKnowingTheUsers(t *testing.T) {
	w := newNodeWorld(t)
	w.mustStage(t, epochA)
	w.mounts.uses.usersFail = errors.New("no /proc")
	if err := w.unstage(t); err == nil || len(w.connector.disconnected) != 0 {
		t.Errorf("unstage: %v, disconnected %v, want an error and a connection", err, w.connector.disconnected)
	}
}

// Programs such as udev look at a device for a moment after it was unmounted.
func TestUnstageWaitsForAUserThatGoes(t *testing.T) {
	w := newNodeWorld(t)
	w.mustStage(t, epochA)
	w.mounts.uses.claimed = true
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		defer time.AfterFunc(time.Second, func() {
			w.mounts.mutex.Lock()
			defer w.mounts.mutex.Unlock()
			w.mounts.uses.claimed = false
		}).Stop()
		if err := w.unstage(t); err != nil || time.Since(start) > 2*time.Second {
			t.Errorf("unstage: %v after %v, want success when the user is gone", err, time.Since(start))
		}
	})
}

// Everything is on the target, and nobody can mount the device any more, before it is disconnected.
func TestUnstageWritesEverythingBeforeItDisconnects(t *testing.T) {
	w := newNodeWorld(t)
	w.mustStage(t, epochA)
	w.mounts.onUnmount = func() { w.mounts.uses.does("unmount", w.staging) }
	w.connector.onDisconnect = func() {
		w.mounts.uses.does("disconnect", "nvme0n1")
		if w.mounts.uses.claims != 1 || w.mounts.opened[filepath.Join(w.folder, "nvme0n1")] != 1 {
			t.Errorf("disconnected with %d claims, open %v, want the device claimed", w.mounts.uses.claims, w.mounts.opened)
		}
	}
	if err := w.unstage(t); err != nil {
		t.Fatal(err)
	}
	want := []string{"sync globalmount", "unmount globalmount", "flush nvme0n1", "disconnect nvme0n1"}
	if !slices.Equal(w.mounts.uses.did, want) || w.mounts.uses.claims != 0 {
		t.Errorf("did %q, %d claims left, want %q", w.mounts.uses.did, w.mounts.uses.claims, want)
	}
}

// A device that can't be written is only disconnected if its target is away: otherwise the next call may write it.
func TestUnstageOfADeviceThatCannotBeWritten(t *testing.T) {
	for state, want := range map[string]codes.Code{stateLive: codes.Unavailable, "connecting": codes.OK} {
		t.Run(state, func(t *testing.T) {
			w := newNodeWorld(t)
			w.mustStage(t, epochA)
			w.mounts.uses.flushFail = unix.EIO
			w.connector.states[subsystemNQN(t, epochA)] = state
			err := w.unstage(t)
			if failure.Code(err) != want || (len(w.connector.disconnected) == 1) != (want == codes.OK) {
				t.Errorf("unstage: %v, disconnected %v, want %v", err, w.connector.disconnected, want)
			}
			w.mounts.uses.flushFail = nil
			w.mustRemove(t)
		})
	}
}

// A target of which nothing is known may be at work.
func TestUnstageOfADeviceWhoseConnectionIsUnknown(t *testing.T) {
	w := newNodeWorld(t)
	w.mustStage(t, epochA)
	w.connector.states[subsystemNQN(t, epochA)] = "connecting"
	w.mounts.uses.onFlush = func() { w.mounts.uses.flushFail, w.connector.fails = unix.EIO, errors.New("no sysfs") }
	if err := w.unstage(t); failure.Code(err) != codes.Unavailable || len(w.connector.disconnected) != 0 {
		t.Errorf("unstage: %v, disconnected %v, want Unavailable and a connection", err, w.connector.disconnected)
	}
	w.mounts.uses, w.connector.fails = fakeUses{}, nil
	w.mustRemove(t)
}

// A filesystem that failed never writes again; the volume must leave the node all the same.
func TestUnstageOfAFilesystemThatFailed(t *testing.T) {
	w := newNodeWorld(t)
	w.mustStage(t, epochA)
	w.mounts.uses.syncFail = unix.EIO
	w.mustRemove(t)
}

// Flushing hangs while the target is away, also when nothing is mounted.
func TestUnstageGivesUpAFlushThatHangs(t *testing.T) {
	w := newNodeWorld(t)
	w.mustBlock(t)
	if err := w.unpublish(t); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		cut := make(chan struct{})
		w.connector.states[subsystemNQN(t, epochA)] = "connecting"
		w.connector.onDisconnect = func() { close(cut); w.connector.onDisconnect = nil }
		w.mounts.uses.onFlush = func() { <-cut; w.mounts.uses.flushFail = unix.EIO }
		start := time.Now()
		if err := w.unstage(t); err != nil || time.Since(start) != DefaultFlushTimeout {
			t.Errorf("unstage: %v after %v, want success after %v", err, time.Since(start), DefaultFlushTimeout)
		}
	})
}

// An earlier epoch's connection is dead, and ends whoever still has its device.
func TestUnstageEndsADeadEpochUnderItsUsers(t *testing.T) {
	w := newNodeWorld(t)
	w.mustStage(t, epochA)
	w.connector.states[subsystemNQN(t, epochB)] = "connecting"
	w.connector.devices[subsystemNQN(t, epochB)] = ""
	if _, err := w.connector.attach(subsystemNQN(t, epochB)); err != nil {
		t.Fatal(err)
	}
	w.mounts.uses.flushFail = unix.EIO // of the dead one; the living one isn't there
	w.connector.lose(subsystemNQN(t, epochA))
	w.mounts.uses.claimed = true
	if err := w.unstage(t); err != nil || len(w.connector.devices) != 0 {
		t.Errorf("unstage: %v, connections %v, want none", err, w.connector.devices)
	}
}

// A raw block volume that no pod can have yet must not be given to one over a filesystem that is mounted out of sight.
func TestRawBlockOverAFilesystemElsewhereIsRefused(t *testing.T) {
	w := newNodeWorld(t)
	w.mounts.uses.claimed = true
	if _, err := w.NodeStageVolume(t.Context(), w.blockStage(t, oneWriter)); failure.Code(err) != codes.FailedPrecondition {
		t.Errorf("stage: %v, want FailedPrecondition", err)
	}
	w.mounts.uses.claimed = false
	w.mustBlock(t)
	w.mounts.uses.claimed = true // by the pod
	if _, err := w.NodePublishVolume(t.Context(), w.blockPublish(t, oneWriter)); err != nil {
		t.Errorf("publish again under a pod that has claimed its device: %v", err)
	}
}

// A filesystem that somebody has mounted out of sight is shared, not checked: e2fsck would refuse it.
func TestAFilesystemThatIsMountedElsewhereIsNotChecked(t *testing.T) {
	w := newNodeWorld(t)
	w.mustStage(t, epochA)
	if err := w.mounts.Unmount(w.staging); err != nil {
		t.Fatal(err)
	}
	before := w.commands.count("e2fsck")
	w.mounts.uses.claimed = true
	w.mustStage(t, epochA)
	if w.commands.count("e2fsck") != before {
		t.Error("e2fsck ran under a mount")
	}
}
