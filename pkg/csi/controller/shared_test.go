package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/publishcontext"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim"
	"git.srvlab.io/whiskey/rds-csi-driver/test/simtest"
)

// disk is the volume's disk as the appliance has it.
func (w *controllerWorld) disk(t *testing.T, volume string) rds.Disk {
	t.Helper()
	id, err := rds.ParseVolumeID(volume)
	if err != nil {
		t.Fatal(err)
	}
	disk, err := w.client.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return disk
}

// record is the volume's record as the appliance has it.
func (w *controllerWorld) record(t *testing.T, volume string) rds.Record {
	t.Helper()
	disk := w.disk(t, volume)
	if !disk.Consistent() {
		t.Errorf("the export disagrees with the record: %+v", disk)
	}
	return disk.Record
}

func (w *controllerWorld) noted(reason attach.Reason) bool {
	return slices.ContainsFunc(w.notes, func(note attach.Note) bool { return note.Reason == reason })
}

// migrating is a shared volume that a and b hold, as in the middle of a virtual machine's migration.
func migrating(t *testing.T) (w *controllerWorld, volume string, epoch publishcontext.Context) {
	t.Helper()
	w = newControllerWorld(t)
	volume = w.create(t)
	first, err := w.publishAs(t, volume, nodeA, sharedBlock())
	if err != nil {
		t.Fatal(err)
	}
	w.setHolder(nodeA, attach.HolderAttached, time.Time{})
	second, err := w.publishAs(t, volume, nodeB, sharedBlock())
	if err != nil {
		t.Fatal(err)
	}
	if second.Target != first.Target || second.Grant.Generation <= first.Grant.Generation {
		t.Errorf("the second node was given %+v, want the epoch of %+v", second, first)
	}
	w.setHolder(nodeB, attach.HolderAttached, time.Time{})
	return w, volume, second
}

func TestASecondNodeJoinsWithoutAnyBounce(t *testing.T) {
	w, volume, epoch := migrating(t)
	if got := w.record(t, volume).Holding.Holders; !slices.Equal(got, []string{nodeA, nodeB}) {
		t.Errorf("holders: %v", got)
	}
	// A subsystem that is taken away counts as a revocation as soon as anybody is connected to it.
	if w.reachable() != epoch.Target.SubsystemNQN || w.decisions[len(w.decisions)-1] != attach.Join {
		t.Errorf("exported %q after %v", w.reachable(), w.decisions)
	}
}

func TestAJoinWritesTheRecordAndNothingElse(t *testing.T) {
	var commands []string
	simulator, config := simtest.Start(t, func(o *sim.Options) { o.Observe = func(e sim.Execution) { commands = append(commands, e.Command) } })
	w := &controllerWorld{nodes: &fakeNodes{holderStates: map[string]attach.Holder{}}, sim: simulator, config: config}
	w.restart(t)
	volume := w.create(t)
	if _, err := w.publishAs(t, volume, nodeA, sharedBlock()); err != nil {
		t.Fatal(err)
	}
	w.setHolder(nodeA, attach.HolderAttached, time.Time{})
	commands = nil
	if _, err := w.publishAs(t, volume, nodeB, sharedBlock()); err != nil {
		t.Fatal(err)
	}
	for _, command := range commands {
		if contains := slices.ContainsFunc([]string{"nvme-tcp-export=no", "nvme-tcp-export=yes", "nvme-tcp-server-nqn="}, func(part string) bool { return strings.Contains(command, part) }); contains {
			t.Errorf("the first holder's export was touched: %s", command)
		}
	}
}

func TestAThirdNodeIsRefusedAndTheHolderNamed(t *testing.T) {
	w, volume, _ := migrating(t)
	_, err := w.publishAs(t, volume, nodeC, sharedBlock())
	if failure.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "node-a") || !w.noted(attach.PublishRefused) {
		t.Errorf("got %v and notes %+v, want a conflict that names a holder", err, w.notes)
	}
}

// Either end of a migration may be the one that stays, and its connection is never touched.
func TestEitherEndMayStay(t *testing.T) {
	for stays, leaves := range map[string]string{nodeA: nodeB, nodeB: nodeA} {
		w, volume, epoch := migrating(t)
		w.nodes.stoppedUsing = map[string]bool{leaves: true}
		if err := w.unpublish(t, volume, leaves); err != nil {
			t.Fatal(err)
		}
		holding := w.record(t, volume).Holding
		if w.reachable() != epoch.Target.SubsystemNQN || !slices.Equal(holding.Holders, []string{stays}) || holding.Departed != nil {
			t.Errorf("%s left: exported %q, holding %+v", leaves, w.reachable(), holding)
		}
		if _, err := w.publishAs(t, volume, nodeC, sharedBlock()); err != nil {
			t.Errorf("%s left, seen letting go; c joins: %v", leaves, err)
		}
	}
}

// An attachment of a node that isn't a holder, and that carries the shared epoch, admits its host: a restored etcd backup has
// one. Another host would be the third.
func TestNobodyJoinsWhileAnAttachmentAdmitsAnotherHost(t *testing.T) {
	w, volume, _ := migrating(t)
	w.nodes.stoppedUsing = map[string]bool{nodeB: true}
	if err := w.unpublish(t, volume, nodeB); err != nil {
		t.Fatal(err)
	}
	b, err := attach.ParseNodeID(nodeB)
	if err != nil {
		t.Fatal(err)
	}
	w.nodes.others = []attach.NodeID{b}
	if _, err := w.publishAs(t, volume, nodeC, sharedBlock()); !errors.Is(err, attach.ErrUnfenced) || !strings.Contains(err.Error(), "node-b") {
		t.Errorf("c joins: got %v, want a refusal that names node-b", err)
	}
	if _, err := w.publishAs(t, volume, nodeB, sharedBlock()); err != nil {
		t.Errorf("b itself joins: %v", err)
	}
}

// A node that nobody saw letting go may still be connected under the shared epoch.
func TestNobodyJoinsWhileADepartedNodeMayBeConnected(t *testing.T) {
	w, volume, epoch := migrating(t)
	if err := w.unpublish(t, volume, nodeB); err != nil {
		t.Fatal(err)
	}
	if got := w.record(t, volume).Holding.Departed; !slices.Equal(got, []string{nodeB}) || w.reachable() != epoch.Target.SubsystemNQN {
		t.Errorf("departed: %v, exported %q", got, w.reachable())
	}
	_, err := w.publishAs(t, volume, nodeC, sharedBlock())
	if !errors.Is(err, attach.ErrUnfenced) || failure.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "node-b") || !w.noted(attach.JoinRefused) {
		t.Errorf("c joins: got %v", err)
	}
	// The last holder's leaving draws a new epoch, which ends the matter.
	if err := w.unpublish(t, volume, nodeA); err != nil {
		t.Fatal(err)
	}
	if _, err := w.publishAs(t, volume, nodeC, sharedBlock()); err != nil || w.reachable() == epoch.Target.SubsystemNQN {
		t.Errorf("c after everybody left: %v, exported %q", err, w.reachable())
	}
}

func TestASharedVolumeIsNotGivenToOneNodeAlone(t *testing.T) {
	w, volume, epoch := migrating(t)
	if _, err := w.publish(t, volume, nodeC); failure.Code(err) != codes.FailedPrecondition || w.reachable() != epoch.Target.SubsystemNQN {
		t.Errorf("got %v, exported %q", err, w.reachable())
	}
	if _, err := w.publish(t, volume, nodeA); failure.Code(err) != codes.AlreadyExists {
		t.Errorf("a holder in another mode: got %v", err)
	}
}

func TestAHolderThatChangedItsIdentityIsNeverFenced(t *testing.T) {
	w := newControllerWorld(t)
	volume := w.create(t)
	before := w.mustPublish(t, volume, nodeA)
	w.setHolder(nodeA, attach.HolderInUse, time.Time{})
	_, err := w.publish(t, volume, "node-a/machine-new")
	if failure.Code(err) != codes.FailedPrecondition || w.reachable() != before.Target.SubsystemNQN || !w.noted(attach.MachineIdentityChanged) {
		t.Errorf("got %v, exported %q, notes %+v", err, w.reachable(), w.notes)
	}
}

// One holder that stays is enough to keep a volume: from being deleted, from counting as detached where it isn't this
// cluster's, and from having a growth wait for the other holder to leave.
func TestEitherHolderThatStaysKeepsTheVolume(t *testing.T) {
	for stays, leaves := range map[string]string{nodeA: nodeB, nodeB: nodeA} {
		w, volume, epoch := migrating(t)
		w.setHolder(leaves, attach.HolderGone, time.Time{})
		w.await = func(context.Context, <-chan struct{}) error { return errors.New("waited for nothing") }
		w.restart(t)
		if _, err := w.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: volume}); failure.Code(err) != codes.FailedPrecondition {
			t.Errorf("%s stays, delete: got %v, want FAILED_PRECONDITION", stays, err)
		}
		w.setHolder(leaves, attach.HolderDetaching, time.Now())
		asked := w.nodes.asked
		if _, err := w.expand(t, volume, 128*mebibyte); !errors.Is(err, failure.ErrInService) || errors.Is(err, errMayEndSoon) || w.nodes.asked != asked+1 {
			t.Errorf("%s stays, expand: got %v after %d questions, want at once that it is in service", stays, err, w.nodes.asked-asked)
		}
		w.setHolder(leaves, attach.HolderGone, time.Time{})
		w.config.ClusterID = "cluster-2"
		w.restart(t)
		if err := w.unpublish(t, volume, leaves); failure.Code(err) != codes.FailedPrecondition {
			t.Errorf("%s stays, detach of another cluster's volume: got %v, want FAILED_PRECONDITION", stays, err)
		}
		if len(w.sim.Disks()) != 1 || w.reachable() != epoch.Target.SubsystemNQN {
			t.Errorf("%s stays: %d disks, exported %q", stays, len(w.sim.Disks()), w.reachable())
		}
	}
}

// A departed host that can't be understood may be connected still.
func TestNobodyJoinsWhileADepartedHostCanNotBeUnderstood(t *testing.T) {
	w, volume, _ := migrating(t)
	if err := w.unpublish(t, volume, nodeB); err != nil {
		t.Fatal(err)
	}
	spoilt := strings.Replace(w.sim.Disks()[0].Comment, nodeB, "nobody-knows-who", 1)
	if out, err := w.sim.Exec(t.Context(), fmt.Sprintf(`/disk set [find where slot~"csi-"] comment=%q`, spoilt)); err != nil || strings.TrimSpace(out) != "" {
		t.Fatalf("spoil the record: %q, %v", out, err)
	}
	w.restart(t)
	if _, err := w.publishAs(t, volume, nodeC, sharedBlock()); !errors.Is(err, attach.ErrUnknown) {
		t.Errorf("got %v, want ErrUnknown", err)
	}
}
