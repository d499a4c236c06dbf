package node

import (
	"slices"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
)

// fence does what a hand-over at the appliance does: the old epoch is dead, a new one may come in.
func (w *nodeWorld) fence(t *testing.T) {
	t.Helper()
	w.connector.admits = map[string]bool{subsystemNQN(t, epochB): true}
}

func TestNewEpochIsStagedAgain(t *testing.T) {
	for name, c := range map[string]struct {
		calls    []func(*nodeWorld, *testing.T, string)
		distinct bool
	}{
		"stage, each epoch has an identity":   {calls: []func(*nodeWorld, *testing.T, string){(*nodeWorld).mustStage, (*nodeWorld).mustPublish}, distinct: true},
		"publish, each epoch has an identity": {calls: []func(*nodeWorld, *testing.T, string){(*nodeWorld).mustPublish}, distinct: true},
		"publish, the disk has an identity":   {calls: []func(*nodeWorld, *testing.T, string){(*nodeWorld).mustPublish}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newNodeWorld(t)
			w.connector.distinct = c.distinct
			w.mustStage(t, epochA)
			w.mustPublish(t, epochA)
			w.fence(t)
			for _, call := range c.calls {
				call(w, t, epochB)
			}
			if staged, published := w.mountedAt(w.staging), w.mountedAt(w.target); !slices.Equal(staged, []string{"nvme1n1"}) || !slices.Equal(published, staged) {
				t.Errorf("mounted: staged %v, published %v, want the new epoch's device at both", staged, published)
			}
			if want := []string{subsystemNQN(t, epochA)}; !cmp.Equal(w.connector.disconnected, want) {
				t.Errorf("disconnected %v, want %v", w.connector.disconnected, want)
			}
			if got := w.commands.count("umount --lazy"); got != 2 {
				t.Errorf("lazy unmounts = %d, want staging and target: %v", got, w.commands.ran)
			}
			if got := w.commands.count("mkfs"); got != 1 {
				t.Errorf("formatted %d times, want only at the first stage", got)
			}
		})
	}
}

// The kernel shows no device as long as a pod has the dead one of the same identity. Staging, which isn't told where,
// takes nothing from a pod; it succeeds once that is unpublished.
func TestStagingWaitsForAPodOnTheDeadEpoch(t *testing.T) {
	w := newNodeWorld(t)
	w.mustStage(t, epochA)
	w.mustPublish(t, epochA)
	w.fence(t)
	synctest.Test(t, func(t *testing.T) {
		_, err := w.NodeStageVolume(t.Context(), w.stageRequest(t, epochB))
		synctest.Wait()
		if failure.Code(err) != codes.DeadlineExceeded || len(w.mountedAt(w.target)) != 1 {
			t.Errorf("stage: %v, published %v, want DeadlineExceeded and the pod left alone", err, w.mountedAt(w.target))
		}
		if err := w.unpublish(t); err != nil {
			t.Errorf("unpublish: %v", err)
		}
		w.mustStage(t, epochB)
	})
}

// A kernel that hangs in disconnecting the dead epoch must not keep the living one from its pod.
func TestADeadEpochThatCantBeDisconnectedIsLeftBehind(t *testing.T) {
	w := newNodeWorld(t)
	w.mustStage(t, epochA)
	w.fence(t)
	w.connector.hangs, w.connector.distinct = true, true
	synctest.Test(t, func(t *testing.T) {
		w.mustStage(t, epochB)
		w.mustPublish(t, epochB)
	})
	if published := w.mountedAt(w.target); !slices.Equal(published, []string{"nvme1n1"}) {
		t.Errorf("published %v, want the new epoch's device", published)
	}
}

// The target judges: an old request that it refuses must not touch what is staged and alive.
func TestRefusedEpochTouchesNothing(t *testing.T) {
	w := newNodeWorld(t)
	w.mustStage(t, epochA)
	w.mustPublish(t, epochA)
	before := slices.Clone(w.mounts.table)
	_, stage := w.NodeStageVolume(t.Context(), w.stageRequest(t, epochB))
	_, publish := w.NodePublishVolume(t.Context(), w.publishRequest(t, epochB))
	for name, err := range map[string]error{"stage": stage, "publish": publish} {
		if got := failure.Code(err); got != codes.Unavailable {
			t.Errorf("%s of a refused epoch: %v (%v), want Unavailable", name, got, err)
		}
	}
	if !cmp.Equal(w.mounts.table, before) || len(w.connector.disconnected) != 0 {
		t.Errorf("mounts %v, disconnected %v, want nothing touched", w.mounts.table, w.connector.disconnected)
	}
}

// Kubelet may believe that a volume is staged when nothing is.
func TestPublishStagesWhatIsNotStaged(t *testing.T) {
	w := newNodeWorld(t)
	w.mustStage(t, epochA)
	w.mounts.table = nil
	w.mustPublish(t, epochA)
	if staged, published := w.mountedAt(w.staging), w.mountedAt(w.target); len(staged) != 1 || len(published) != 1 {
		t.Errorf("mounted: staged %v, published %v, want both", staged, published)
	}
}

// What was staged once has a filesystem. If it is gone, something is wrong, and a new one would hide it.
func TestPublishNeverFormats(t *testing.T) {
	w := newNodeWorld(t)
	_, err := w.NodePublishVolume(t.Context(), w.publishRequest(t, epochA))
	if got := failure.Code(err); got != codes.FailedPrecondition || w.commands.count("mkfs") != 0 {
		t.Errorf("publish of a blank volume: %v (%v), commands %v, want FailedPrecondition and no mkfs", got, err, w.commands.ran)
	}
}

func TestDeadMountThatStaysIsAnError(t *testing.T) {
	w := newNodeWorld(t)
	w.connector.distinct = true
	w.mustStage(t, epochA)
	w.fence(t)
	w.commands.answers = map[string]answer{"umount": {}}
	if _, err := w.NodeStageVolume(t.Context(), w.stageRequest(t, epochB)); err == nil {
		t.Error("stage on top of a dead mount that didn't go = success, want an error")
	}
	if _, err := w.NodePublishVolume(t.Context(), w.publishRequest(t, epochB)); err == nil || len(w.mountedAt(w.target)) != 0 {
		t.Errorf("publish on top of it: %v, mounted %v, want an error and nothing", err, w.mountedAt(w.target))
	}
}
