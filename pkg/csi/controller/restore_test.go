package controller

import (
	"context"
	"errors"
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
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
	"git.srvlab.io/whiskey/rds-csi-driver/test/simtest"
)

// flashDelay is for how long the appliance keeps what was written in its memory alone.
const flashDelay = time.Minute

// newForgetful is a world whose appliance forgets the last minute when its power is cut.
func newForgetful(t *testing.T) *controllerWorld {
	t.Helper()
	simulator, config := simtest.Start(t, func(o *sim.Options) { o.FlashDelay = flashDelay })
	w := &controllerWorld{nodes: &fakeNodes{holderStates: map[string]attach.Holder{}}, sim: simulator, config: config}
	w.restart(t)
	return w
}

// cutPower returns as soon as the appliance is up again.
func (w *controllerWorld) cutPower(t *testing.T) {
	t.Helper()
	if err := w.sim.Reboot(t.Context(), appliance.Boot{PowerCut: true}); err != nil {
		t.Fatal(err)
	}
	for w.sim.Phase() != appliance.Up {
		w.sim.NextPhase()
	}
}

// past is a volume that was passed on from a to b, on an appliance that has lost that by a power cut: it shows a as the
// holder, under a's old epoch. What b was granted is all that Kubernetes knows.
type past struct {
	*controllerWorld
	volume    string
	old, lost publishcontext.Context
}

func wentBack(t *testing.T) past {
	t.Helper()
	w := newForgetful(t)
	volume := w.create(t)
	old := w.mustPublish(t, volume, nodeA)
	w.sim.Advance(2 * flashDelay)
	w.setHolder(nodeA, attach.HolderGone, time.Time{})
	lost := w.mustPublish(t, volume, nodeB)
	w.cutPower(t)
	w.sim.Advance(time.Hour)
	w.restart(t)
	if w.reachable() != old.Target.SubsystemNQN {
		t.Fatalf("the appliance did not go back: it exports %q", w.reachable())
	}
	w.nodes.granted = lost.Grant
	w.nodes.grants = []attach.Grant{lost.Grant}
	return past{w, volume, old, lost}
}

func TestRestoreGivesTheVolumeBackToItsLastHolder(t *testing.T) {
	w := wentBack(t)
	if err := w.Restore(t.Context(), w.volume); err != nil {
		t.Fatal(err)
	}
	record := w.record(t, w.volume)
	if w.reachable() != w.lost.Target.SubsystemNQN || !slices.Equal(record.Holding.Holders, []string{nodeB}) || record.Generation <= w.lost.Grant.Generation {
		t.Errorf("exported %q, record %+v, want b's holding under %q", w.reachable(), record, w.lost.Target.SubsystemNQN)
	}
	if !w.noted(attach.ApplianceWentBack) {
		t.Error("nobody was told")
	}
	// Once restored there is nothing to do, however often it is asked for.
	w.notes = nil
	if err := w.Restore(t.Context(), w.volume); err != nil || len(w.notes) > 0 || w.record(t, w.volume).Token != record.Token {
		t.Errorf("again: %v, notes %+v", err, w.notes)
	}
	if !slices.Equal(w.restored, []attach.RestoreReason{attach.RestoredWentBack}) {
		t.Errorf("counted %q, want it once", w.restored)
	}
}

// A reboot may bring a disk back with its record and without its export; a power cut between two statements does, too.
func TestRestoreGivesALostExportBack(t *testing.T) {
	for name, vouched := range map[string]bool{"vouched for": true, "not vouched for": false} {
		t.Run(name, func(t *testing.T) {
			w := newControllerWorld(t)
			volume := w.create(t)
			held := w.mustPublish(t, volume, nodeA)
			if vouched {
				w.nodes.grants = []attach.Grant{held.Grant}
			}
			if _, err := w.sim.Exec(t.Context(), `/disk set [find where comment~"rds-csi"] nvme-tcp-export=no`); err != nil {
				t.Fatal(err)
			}
			if err := w.Restore(t.Context(), volume); err != nil || (w.reachable() == held.Target.SubsystemNQN) != vouched {
				t.Errorf("%v, exported %q", err, w.reachable())
			}
			if counted := slices.Equal(w.restored, []attach.RestoreReason{attach.RestoredExport}); counted != vouched {
				t.Errorf("counted %q", w.restored)
			}
		})
	}
}

// While the API server can't vouch for the last holder, the old one is kept out, and what is wrong can still be seen.
func TestRestoreTakesTheExportAwayFirst(t *testing.T) {
	w := wentBack(t)
	w.nodes.failed = attach.ErrUnknown
	if err := w.Restore(t.Context(), w.volume); failure.Code(err) != codes.Unavailable || w.reachable() != "" {
		t.Errorf("got %v, exported %q, want UNAVAILABLE and no export", err, w.reachable())
	}
	if len(w.restored) > 0 {
		t.Errorf("counted %q before anything was given back", w.restored)
	}
	w.nodes.failed = nil
	if err := w.Restore(t.Context(), w.volume); err != nil || w.reachable() != w.lost.Target.SubsystemNQN {
		t.Errorf("once the API server answers: %v, exported %q", err, w.reachable())
	}
}

// The API server may take a question and never answer it. By then nobody may have access who was shut out, whichever volume
// the question is about, and one question leaves time for the others.
func TestExportsGoAwayBeforeAnythingIsAsked(t *testing.T) {
	w := wentBack(t)
	asked := 0
	w.nodes.failed = context.DeadlineExceeded
	w.nodes.onGrants = func(ctx context.Context) {
		asked++
		if exported := w.reachable(); exported != "" {
			t.Errorf("asked while %q is exported", exported)
		}
		if deadline, bounded := ctx.Deadline(); !bounded || time.Until(deadline) > grantsTimeout {
			t.Errorf("the question is bounded: %t, by %s, want %s at most", bounded, deadline, grantsTimeout)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	if err := w.Refresh(ctx); !errors.Is(err, context.DeadlineExceeded) || asked != 1 || w.reachable() != "" {
		t.Errorf("got %v after %d questions, exported %q", err, asked, w.reachable())
	}
}

func TestEverySupersededExportGoesAwayBeforeTheFirstQuestion(t *testing.T) {
	w := newForgetful(t)
	var volumes []string
	for _, name := range []string{"pvc-1", "pvc-2"} {
		response, err := w.CreateVolume(t.Context(), createRequest(name))
		if err != nil {
			t.Fatal(err)
		}
		volumes = append(volumes, response.GetVolume().GetVolumeId())
		w.mustPublish(t, volumes[len(volumes)-1], nodeA)
	}
	w.sim.Advance(2 * flashDelay)
	for _, volume := range volumes {
		if err := w.unpublish(t, volume, nodeA); err != nil {
			t.Fatal(err)
		}
	}
	w.cutPower(t)
	w.sim.Advance(time.Hour)
	w.nodes.failed = attach.ErrUnknown
	asked := 0
	w.nodes.onGrants = func(context.Context) {
		asked++
		if exported := w.reachable(); exported != "" {
			t.Errorf("question %d is asked while %q is exported", asked, exported)
		}
	}
	if err := w.Refresh(t.Context()); !errors.Is(err, attach.ErrUnknown) || asked != 2 {
		t.Errorf("got %v after %d questions, want 2", err, asked)
	}
}

// What was lost may be of no weight, such as an expansion: the epoch is the newest that is known, and its holder, who is
// connected, isn't cut off by a question without an answer.
func TestTheNewestKnownEpochStaysExported(t *testing.T) {
	w := newForgetful(t)
	volume := w.create(t)
	held := w.mustPublish(t, volume, nodeA)
	w.sim.Advance(2 * flashDelay)
	w.Service.config.ExpandPublished = true
	if _, err := w.expand(t, volume, 128*mebibyte); err != nil {
		t.Fatal(err)
	}
	w.cutPower(t)
	w.sim.Advance(time.Hour)
	w.nodes.failed = attach.ErrUnknown
	w.nodes.onGrants = func(context.Context) {
		if w.reachable() != held.Target.SubsystemNQN {
			t.Errorf("the holder was cut off: exported %q", w.reachable())
		}
	}
	if err := w.Refresh(t.Context()); !errors.Is(err, attach.ErrUnknown) || w.reachable() != held.Target.SubsystemNQN {
		t.Errorf("got %v, exported %q, want %q", err, w.reachable(), held.Target.SubsystemNQN)
	}
	w.nodes.failed, w.nodes.grants = nil, []attach.Grant{held.Grant}
	if err := w.Refresh(t.Context()); err != nil || w.reachable() != held.Target.SubsystemNQN {
		t.Errorf("once the API server answers: %v, exported %q", err, w.reachable())
	}
}

func TestRestoreWithoutALivingHolderLeavesNobody(t *testing.T) {
	w := wentBack(t)
	w.nodes.grants = nil
	if err := w.Restore(t.Context(), w.volume); err != nil || w.reachable() != "" || w.record(t, w.volume).Held() {
		t.Errorf("%v, exported %q", err, w.reachable())
	}
}

// Whoever asks for a volume that went back, it is restored before anything is decided on it.
func TestPublishAndUnpublishRestoreFirst(t *testing.T) {
	w := wentBack(t)
	w.setHolder(nodeB, attach.HolderAttached, time.Time{})
	if _, err := w.publish(t, w.volume, nodeA); failure.Code(err) != codes.FailedPrecondition || w.reachable() != w.lost.Target.SubsystemNQN {
		t.Errorf("the old holder asks: got %v, exported %q, want a conflict with the restored holder", err, w.reachable())
	}
	w = wentBack(t)
	w.nodes.grants = nil // b's attachment is being deleted, which is why it is unpublished
	if err := w.unpublish(t, w.volume, nodeB); err != nil || w.reachable() == w.old.Target.SubsystemNQN || w.record(t, w.volume).Held() {
		t.Errorf("the last holder leaves: %v, exported %q", err, w.reachable())
	}
}

// A controller that has seen the appliance further on needs no attachment to notice: here the volume was taken from a
// dead node, nobody has it, and the power cut let the dead one in again. It doesn't wait until the appliance lists
// everything.
func TestARefreshShutsOutWhoWasLetInByThePast(t *testing.T) {
	for name, up := range map[string]time.Duration{"still booting": 0, "up for long": time.Hour} {
		t.Run(name, func(t *testing.T) {
			w := newForgetful(t)
			volume := w.create(t)
			old := w.mustPublish(t, volume, nodeA)
			w.sim.Advance(2 * flashDelay)
			if err := w.unpublish(t, volume, nodeA); err != nil {
				t.Fatal(err)
			}
			w.cutPower(t)
			w.sim.Advance(up)
			if w.reachable() != old.Target.SubsystemNQN {
				t.Fatalf("the appliance did not go back: it exports %q", w.reachable())
			}
			err := w.Refresh(t.Context())
			if w.reachable() != "" || w.record(t, volume).Held() {
				t.Errorf("%v, exported %q", err, w.reachable())
			}
			if errors.Is(err, rds.ErrNotReady) != (up == 0) || err != nil && up > 0 {
				t.Errorf("got %v, want to be told whether there may be more", err)
			}
		})
	}
}

// What an attachment says was granted is enough, whatever becomes of the attachment: nobody may be left to look at it
// as one that is attached.
func TestARefreshComparesWithWhatWasGranted(t *testing.T) {
	w := wentBack(t)
	w.nodes.grants = nil
	if err := w.Refresh(t.Context()); err != nil || w.reachable() != "" {
		t.Errorf("%v, exported %q", err, w.reachable())
	}
}

// A controller that has just started knows from the attachments alone what was granted. It hears of the old record at
// once, but nothing is concluded from what isn't listed.
func TestRecordsAreSeenWhileTheApplianceBoots(t *testing.T) {
	w := newForgetful(t)
	volume := w.create(t)
	held := w.mustPublish(t, volume, nodeA)
	w.sim.Advance(2 * flashDelay)
	w.cutPower(t)
	w.restart(t)
	if err := w.Refresh(t.Context()); !errors.Is(err, rds.ErrNotReady) {
		t.Errorf("refresh: got %v, want ErrNotReady", err)
	}
	if record, found := w.SeenRecord(volume); !found || record.SubsystemNQN != held.Target.SubsystemNQN {
		t.Errorf("got %+v, %t, want the record that is listed", record, found)
	}
	if _, err := w.ListVolumes(t.Context(), &csi.ListVolumesRequest{}); failure.Code(err) != codes.Unavailable {
		t.Errorf("ListVolumes: got %v, want UNAVAILABLE", err)
	}
}

// A memory that is behind, here of the time before b, isn't an appliance that went back.
func TestAnOldMemoryIsNotTakenForThePast(t *testing.T) {
	w := newControllerWorld(t)
	volume := w.create(t)
	behind := w.Service
	w.restart(t)
	b := w.mustPublish(t, volume, nodeB)
	w.Service = behind
	w.nodes.granted = b.Grant
	w.setHolder(nodeB, attach.HolderAttached, time.Time{})
	if _, err := w.publish(t, volume, nodeA); failure.Code(err) != codes.FailedPrecondition || w.reachable() != b.Target.SubsystemNQN || w.noted(attach.ApplianceWentBack) {
		t.Errorf("got %v, exported %q, notes %+v", err, w.reachable(), w.notes)
	}
}

func TestASharedHoldingIsRestoredButNotJoined(t *testing.T) {
	w := wentBack(t)
	grant := w.lost.Grant
	grant.Access, grant.Mode = attach.AccessBlock, attach.ModeMultiWriter
	second := grant
	second.Node = attach.NodeID{Name: "node-c", Machine: "machine-c"}
	w.nodes.grants = []attach.Grant{grant, second}
	if err := w.Restore(t.Context(), w.volume); err != nil {
		t.Fatal(err)
	}
	if holding := w.record(t, w.volume).Holding; !slices.Equal(holding.Holders, []string{nodeB, nodeC}) || !slices.Equal(holding.Departed, []string{unknownDeparted}) {
		t.Errorf("got %+v", holding)
	}
}

// Of several grants, the newest is that of the last holder, in whatever order they come: earlier ones may be of attachments
// that a restored backup brought back.
func TestTheNewestGrantIsRestored(t *testing.T) {
	for name, order := range map[string]func(older, newest attach.Grant) []attach.Grant{
		"newest first": func(older, newest attach.Grant) []attach.Grant { return []attach.Grant{newest, older} },
		"newest last":  func(older, newest attach.Grant) []attach.Grant { return []attach.Grant{older, newest} },
	} {
		t.Run(name, func(t *testing.T) {
			w := wentBack(t)
			w.nodes.grants = order(w.old.Grant, w.lost.Grant)
			if err := w.Restore(t.Context(), w.volume); err != nil {
				t.Fatal(err)
			}
			record := w.record(t, w.volume)
			if w.reachable() != w.lost.Target.SubsystemNQN || !slices.Equal(record.Holding.Holders, []string{nodeB}) || record.Generation <= w.lost.Grant.Generation {
				t.Errorf("exported %q, record %+v, want that of b alone", w.reachable(), record)
			}
		})
	}
}

// An NQN that was never issued for the volume may be another volume's, or anybody's. Nobody is admitted under it.
func TestOnlyAnNQNOfTheVolumeIsRestored(t *testing.T) {
	w := wentBack(t)
	another := w.createNamed(t, "pvc-2")
	w.nodes.granted, w.nodes.grants = attach.Grant{}, nil
	foreign := w.mustPublish(t, another, nodeA).Target.SubsystemNQN
	if err := w.unpublish(t, another, nodeA); err != nil {
		t.Fatal(err)
	}
	for name, nqn := range map[string]string{
		"another volume's": foreign, "anybody's": "nqn.2026-11.example:other", "cut short": w.lost.Target.SubsystemNQN[:len(w.lost.Target.SubsystemNQN)-1],
		"longer": w.lost.Target.SubsystemNQN + "0", "of another spelling": strings.ToUpper(w.lost.Target.SubsystemNQN),
	} {
		spoilt := w.lost.Grant
		spoilt.SubsystemNQN = nqn
		w.nodes.granted, w.nodes.grants = spoilt, []attach.Grant{spoilt, w.old.Grant}
		if err := w.Restore(t.Context(), w.volume); !errors.Is(err, attach.ErrUnknown) || w.reachable() != "" {
			t.Errorf("%s: got %v, exported %q, want ErrUnknown and nothing", name, err, w.reachable())
		}
	}
}

// lateGrant is an appliance during whose answer another controller grants the volume anew.
type lateGrant struct {
	Appliance
	grant func()
}

func (l lateGrant) Get(ctx context.Context, id rds.VolumeID) (rds.Disk, error) {
	disk, err := l.Appliance.Get(ctx, id)
	l.grant()
	return disk, err
}

// A grant that came after the disk was read is newer than the disk, though the appliance didn't go back.
func TestAGrantThatCameLaterDoesNotShowThePast(t *testing.T) {
	w := newControllerWorld(t)
	volume := w.create(t)
	held := w.mustPublish(t, volume, nodeA).Grant
	w.restart(t)
	w.nodes.grants = []attach.Grant{held}
	w.appliance = lateGrant{w.appliance, func() { w.nodes.granted = attach.Grant{Node: held.Node, Generation: held.Generation + 1} }}
	before := w.record(t, volume)
	if err := w.Restore(t.Context(), volume); err != nil || w.noted(attach.ApplianceWentBack) || w.record(t, volume).Token != before.Token {
		t.Errorf("got %v, notes %+v, want nothing to be restored", err, w.notes)
	}
}

// What this process saw may be newer than any grant. A restored record must be newer than that, or it would count as one of
// the past again.
func TestARestoredRecordIsNewerThanAllThatWasSeen(t *testing.T) {
	w := newForgetful(t)
	volume := w.create(t)
	w.mustPublish(t, volume, nodeA)
	w.sim.Advance(2 * flashDelay)
	for range 3 {
		if err := w.unpublish(t, volume, nodeA); err != nil {
			t.Fatal(err)
		}
	}
	highest := w.record(t, volume).Generation
	w.cutPower(t)
	w.sim.Advance(time.Hour)
	for range 2 {
		if err := w.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := w.record(t, volume).Generation; got <= highest || len(w.restored) != 1 {
		t.Errorf("generation %d after %d was seen, restored %d times, want it higher and once", got, highest, len(w.restored))
	}
}
