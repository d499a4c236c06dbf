package node

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
)

// unstageAt stages a volume whose unmounting hangs, puts its connection into a state, and unstages it with kubelet's
// patience. The volume's controllers being deleted lets unmounting end, as it does in the kernel.
func unstageAt(t *testing.T, w *nodeWorld, state string) (took time.Duration, err error) {
	t.Helper()
	w.connector.states[subsystemNQN(t, epochA)] = state
	w.mounts.hang = make(chan struct{})
	w.connector.onDisconnect = func() { close(w.mounts.hang); w.connector.onDisconnect = nil }
	request := &csi.NodeUnstageVolumeRequest{VolumeId: testVolume, StagingTargetPath: w.staging}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	start := time.Now()
	_, err = w.NodeUnstageVolume(ctx, request)
	return time.Since(start), err
}

func TestUnstageEndsThoughTheTargetIsGone(t *testing.T) {
	for _, state := range []string{"connecting", "resetting", "deleting", "dead", "new"} {
		t.Run(state, func(t *testing.T) {
			w := newNodeWorld(t)
			w.mustStage(t, epochA)
			synctest.Test(t, func(t *testing.T) {
				took, err := unstageAt(t, w, state)
				if err != nil || took < DefaultFlushTimeout || took > DefaultFlushTimeout+time.Second {
					t.Errorf("unstage took %v, %v, want success after %v", took, err, DefaultFlushTimeout)
				}
			})
			if len(w.mounts.table) != 0 || len(w.connector.devices) != 0 {
				t.Errorf("left behind: mounts %v, connections %v", w.mounts.table, w.connector.devices)
			}
		})
	}
}

// A target that is connected gets all the time it needs to write what is in memory, although the caller is told in
// time.
func TestUnstageNeverCutsALiveTargetOff(t *testing.T) {
	w := newNodeWorld(t)
	w.mustStage(t, epochA)
	synctest.Test(t, func(t *testing.T) {
		took, err := unstageAt(t, w, stateLive)
		if failure.Code(err) != codes.DeadlineExceeded || took != callLimit {
			t.Errorf("unstage took %v: %v, want DeadlineExceeded after %v", took, err, callLimit)
		}
		<-time.After(10 * DefaultFlushTimeout)
		if len(w.connector.disconnected) != 0 {
			t.Errorf("disconnected %v while it was live", w.connector.disconnected)
		}
		if err := w.unstage(t); failure.Code(err) != codes.Aborted {
			t.Errorf("second unstage beside the first: %v, want Aborted", err)
		}
		w.connector.onDisconnect = nil
		close(w.mounts.hang)
		synctest.Wait()
		if len(w.connector.disconnected) != 1 || len(w.mounts.table) != 0 {
			t.Errorf("after the writes: disconnected %v, mounts %v, want the unstaging finished", w.connector.disconnected, w.mounts.table)
		}
		if err := w.unstage(t); err != nil {
			t.Errorf("unstage again: %v", err)
		}
	})
}

// A target that comes back in time loses nothing.
func TestUnstageWaitsForATargetThatComesBack(t *testing.T) {
	w := newNodeWorld(t)
	w.mustStage(t, epochA)
	synctest.Test(t, func(t *testing.T) {
		w.mounts.hang = make(chan struct{})
		w.connector.states[subsystemNQN(t, epochA)] = "connecting"
		back := time.AfterFunc(DefaultFlushTimeout-time.Second, func() { close(w.mounts.hang) })
		defer back.Stop()
		start := time.Now()
		if err := w.unstage(t); err != nil || time.Since(start) != DefaultFlushTimeout-time.Second {
			t.Errorf("unstage: %v after %v, want success as soon as it was back", err, time.Since(start))
		}
	})
}

// Once nothing is mounted any more, the volume is disconnected, whether somebody still waits for that or not.
func TestDisconnectingOutlivesTheCallThatBeganIt(t *testing.T) {
	w := newNodeWorld(t)
	w.mustStage(t, epochA)
	synctest.Test(t, func(t *testing.T) {
		ctx, giveUp := context.WithCancel(t.Context())
		w.mounts.onUnmount = giveUp
		if _, err := w.NodeUnstageVolume(ctx, &csi.NodeUnstageVolumeRequest{VolumeId: testVolume, StagingTargetPath: w.staging}); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("unstage: %v, want that it gave up", err)
		}
		synctest.Wait()
		if len(w.mounts.table) != 0 || len(w.connector.devices) != 0 {
			t.Errorf("left behind: mounts %v, connections %v", w.mounts.table, w.connector.devices)
		}
	})
}

// A kernel may hang in disconnecting. The call says so in time, and the next one tries again.
func TestDisconnectingThatHangsIsAnError(t *testing.T) {
	w := newNodeWorld(t)
	w.mustStage(t, epochA)
	synctest.Test(t, func(t *testing.T) {
		w.connector.hangs = true
		start := time.Now()
		if err := w.unstage(t); failure.Code(err) != codes.Unavailable || time.Since(start) != disconnectLimit {
			t.Errorf("unstage: %v after %s, want Unavailable after %s", err, time.Since(start), disconnectLimit)
		}
		w.connector.hangs = false
		if err := w.unstage(t); err != nil || len(w.connector.devices) != 0 {
			t.Errorf("unstage again: %v, connections %v", err, w.connector.devices)
		}
	})
}

// A target that goes away while a volume is staged keeps the volume locked, also when the pod is gone. Then unstaging
// lets go of it, unless somebody uses it or the target may be writing.
func TestUnstageEndsAStagingThatHangs(t *testing.T) {
	for name, c := range map[string]struct {
		state string
		pod   bool
		want  codes.Code
	}{
		"target away":           {state: "connecting", want: codes.OK},
		"target away, pod left": {state: "connecting", pod: true, want: codes.Aborted},
		"target at work":        {state: stateLive, want: codes.Aborted},
	} {
		t.Run(name, func(t *testing.T) {
			w := newNodeWorld(t)
			w.mustStage(t, epochA)
			if c.pod {
				w.mustPublish(t, epochA)
			} else if err := w.mounts.Unmount(w.staging); err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) {
				back := make(chan struct{})
				w.commands.onRun = func(string) { <-back }
				w.connector.onDisconnect = sync.OnceFunc(func() { close(back) })
				w.connector.states[subsystemNQN(t, epochA)] = c.state
				if _, err := w.NodeStageVolume(t.Context(), w.stageRequest(t, epochA)); failure.Code(err) != codes.DeadlineExceeded {
					t.Errorf("stage: %v, want DeadlineExceeded", err)
				}
				start := time.Now()
				err := w.unstage(t)
				if (c.want == codes.OK) != (err == nil) || err != nil && failure.Code(err) != c.want || time.Since(start) > callLimit {
					t.Errorf("unstage: %v after %v, want %v", err, time.Since(start), c.want)
				}
				if cut := len(w.connector.disconnected) > 0; cut != (c.want == codes.OK) {
					t.Errorf("disconnected %v", w.connector.disconnected)
				}
				w.connector.onDisconnect()
				synctest.Wait()
			})
		})
	}
}

// The connection may be gone while a pod still has the dead mount; taking the staging mount away would leave it alone.
func TestUnstageUnderAPodWhoseConnectionIsGone(t *testing.T) {
	w := newNodeWorld(t)
	w.mustStage(t, epochA)
	w.mustPublish(t, epochA)
	w.connector.lose(subsystemNQN(t, epochA))
	if got := failure.Code(w.unstage(t)); got != codes.FailedPrecondition || len(w.mounts.table) != 2 {
		t.Errorf("unstage: %v, mounts %v, want FailedPrecondition and both mounts", got, w.mounts.table)
	}
}
