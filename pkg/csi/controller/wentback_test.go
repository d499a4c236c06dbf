package controller

import (
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
	"git.srvlab.io/whiskey/rds-csi-driver/test/simtest"
)

// forgotten is a volume whose record says again that nobody holds it, by a power cut, while b has it attached.
func forgotten(t *testing.T) past {
	t.Helper()
	const flashDelay = time.Minute
	simulator, config := simtest.Start(t, func(o *sim.Options) { o.FlashDelay = flashDelay })
	w := &controllerWorld{nodes: &fakeNodes{holderStates: map[string]attach.Holder{}}, sim: simulator, config: config}
	w.restart(t)
	volume := w.create(t)
	simulator.Advance(2 * flashDelay)
	lost := w.mustPublish(t, volume, nodeB)
	if err := simulator.Reboot(t.Context(), appliance.Boot{PowerCut: true}); err != nil {
		t.Fatal(err)
	}
	for simulator.Phase() != appliance.Up {
		simulator.NextPhase()
	}
	simulator.Advance(time.Hour)
	w.restart(t)
	if w.record(t, volume).Held() {
		t.Fatal("the appliance did not go back")
	}
	w.nodes.granted, w.nodes.grants = lost.Grant, []attach.Grant{lost.Grant}
	w.setHolder(nodeB, attach.HolderAttached, time.Time{})
	return past{controllerWorld: w, volume: volume, lost: lost}
}

// What a record of the past says of holders doesn't count: b still writes to the volume.
func TestDeleteRestoresFirst(t *testing.T) {
	w := forgotten(t)
	_, err := w.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: w.volume})
	if failure.Code(err) != codes.FailedPrecondition || len(w.sim.Disks()) != 1 || w.reachable() != w.lost.Target.SubsystemNQN {
		t.Errorf("got %v, %d disks, exported %q, want b to have it again", err, len(w.sim.Disks()), w.reachable())
	}
	w = forgotten(t)
	w.nodes.failed = attach.ErrUnknown
	if _, err := w.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: w.volume}); failure.Code(err) != codes.Unavailable || len(w.sim.Disks()) != 1 {
		t.Errorf("while the API server is silent: got %v, %d disks, want UNAVAILABLE and the disk", err, len(w.sim.Disks()))
	}
	w.nodes.failed = nil
	w.setHolder(nodeB, attach.HolderGone, time.Time{})
	if _, err := w.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: w.volume}); err != nil || len(w.sim.Disks()) != 0 {
		t.Errorf("once b is gone: %v, %d disks", err, len(w.sim.Disks()))
	}
	// The record names a, who is gone, but b was the last to get the volume.
	w = wentBack(t)
	w.setHolder(nodeB, attach.HolderAttached, time.Time{})
	if _, err := w.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: w.volume}); failure.Code(err) != codes.FailedPrecondition || len(w.sim.Disks()) != 1 {
		t.Errorf("after a hand-over: got %v, %d disks, want FAILED_PRECONDITION and the disk", err, len(w.sim.Disks()))
	}
}

// Whoever looks at it after the expansion must not take what is of the past for the present.
func TestExpandRestoresFirst(t *testing.T) {
	w := forgotten(t)
	if _, err := w.expand(t, w.volume, 128*mebibyte); failure.Code(err) != codes.FailedPrecondition || w.reachable() != w.lost.Target.SubsystemNQN {
		t.Errorf("got %v, exported %q, want FAILED_PRECONDITION: b has it", err, w.reachable())
	}
	w = wentBack(t)
	w.Service.config.ExpandPublished = true
	if _, err := w.expand(t, w.volume, 128*mebibyte); err != nil || w.reachable() != w.lost.Target.SubsystemNQN || !w.record(t, w.volume).HeldBy(nodeB) {
		t.Errorf("online: %v, exported %q, want it grown under b", err, w.reachable())
	}
}
