package controller

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim"
)

func TestPublishGivesEachHoldingItsOwnEpoch(t *testing.T) {
	w := newControllerWorld(t)
	volume := w.create(t)
	if got := w.reachable(); got != "" {
		t.Errorf("before anybody holds it, %s is exported", got)
	}
	first := w.mustPublish(t, volume, nodeA)
	if got := w.reachable(); got != first.Target.SubsystemNQN {
		t.Errorf("exported is %q, the node was told %q", got, first.Target.SubsystemNQN)
	}
	if again := w.mustPublish(t, volume, nodeA); again != first {
		t.Errorf("publish again: got %+v, want the same %+v", again, first)
	}
	if err := w.unpublish(t, volume, nodeA); err != nil {
		t.Fatal(err)
	}
	if got := w.reachable(); got != "" {
		t.Errorf("after unpublish, %s is still exported", got)
	}
	second := w.mustPublish(t, volume, nodeA)
	if second.Target.SubsystemNQN == first.Target.SubsystemNQN || second.Grant.Generation <= first.Grant.Generation {
		t.Errorf("second holding: got %+v after %+v, want a new epoch and a higher generation", second, first)
	}
}

// Every case is: a holds the volume, b asks for it.
func TestPublishToAnotherNode(t *testing.T) {
	tests := map[string]struct {
		standing attach.HolderState
		since    time.Duration
		want     codes.Code
		verdict  attach.Verdict
	}{
		"holder is attached":               {attach.HolderAttached, 0, codes.FailedPrecondition, attach.Conflict},
		"holder is detaching within grace": {attach.HolderDetaching, time.Second, codes.OK, attach.HandOff},
		"holder is detaching for too long": {attach.HolderDetaching, time.Minute, codes.FailedPrecondition, attach.Conflict},
		"holder's node is gone":            {attach.HolderGone, 0, codes.OK, attach.TakeOver},
		"holder's attachment is gone":      {attach.HolderDetached, 0, codes.OK, attach.TakeOver},
		"holder changed its identity":      {attach.HolderInUse, 0, codes.FailedPrecondition, attach.Conflict},
		"too many holders vanished":        {attach.HolderGonePaused, 0, codes.Unavailable, attach.Unknown},
		"holder is unknown":                {attach.HolderUnknown, 0, codes.Unavailable, attach.Unknown},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := newControllerWorld(t)
			volume := w.create(t)
			old := w.mustPublish(t, volume, nodeA)
			w.setHolder(nodeA, test.standing, time.Now().Add(-test.since))
			_, err := w.publish(t, volume, nodeB)
			if got := failure.Code(err); test.want == codes.OK && err != nil || test.want != codes.OK && got != test.want {
				t.Fatalf("got %v (%s), want %s", err, got, test.want)
			}
			if err != nil && !strings.Contains(err.Error(), "node-a") {
				t.Errorf("the error doesn't name the holder: %v", err)
			}
			if got := w.decisions[len(w.decisions)-1]; got != test.verdict {
				t.Errorf("verdict: got %s, want %s", got, test.verdict)
			}
			if noted := w.noted(attach.PublishRefused); noted != (test.standing == attach.HolderAttached) {
				t.Errorf("an operator was told to act: %t, notes %+v", noted, w.notes)
			}
			if counted := w.handedOff == 1; counted != (test.verdict == attach.HandOff) {
				t.Errorf("counted as handed off: %d", w.handedOff)
			}
			if changed := w.reachable() != old.Target.SubsystemNQN; changed != (test.want == codes.OK) {
				t.Errorf("the old holder was fenced: %t, want %t", changed, test.want == codes.OK)
			}
		})
	}
}

// What was decided and not done is no hand-off.
func TestAHandOffThatFailsIsNone(t *testing.T) {
	w := newControllerWorld(t)
	volume := w.create(t)
	w.mustPublish(t, volume, nodeA)
	w.setHolder(nodeA, attach.HolderDetaching, time.Now())
	w.sim.Inject(sim.Fault{Kind: sim.LosePolicy, Policy: "write"}, sim.When{})
	if _, err := w.publish(t, volume, nodeB); err == nil || w.handedOff != 0 {
		t.Errorf("got %v, %d hand-offs, want an error and none", err, w.handedOff)
	}
}

// a detaches, b takes over within grace; c comes within the same 30 seconds while b is attached.
func TestGraceIsNotAnOpenDoor(t *testing.T) {
	w := newControllerWorld(t)
	volume := w.create(t)
	w.mustPublish(t, volume, nodeA)
	w.setHolder(nodeA, attach.HolderDetaching, time.Now())
	b := w.mustPublish(t, volume, nodeB)
	w.setHolder(nodeB, attach.HolderAttached, time.Time{})
	if _, err := w.publish(t, volume, nodeC); failure.Code(err) != codes.FailedPrecondition {
		t.Errorf("c: got %v, want a conflict with b", err)
	}
	if w.reachable() != b.Target.SubsystemNQN {
		t.Error("b was fenced")
	}
}

// A controller that starts anew, or a second one, knows what the appliance's record says and nothing else.
func TestTheRecordOutlivesTheController(t *testing.T) {
	w := newControllerWorld(t)
	volume := w.create(t)
	first := w.mustPublish(t, volume, nodeA)
	w.restart(t)
	if again := w.mustPublish(t, volume, nodeA); again != first {
		t.Errorf("after a restart: got %+v, want %+v", again, first)
	}
	w.restart(t)
	w.setHolder(nodeA, attach.HolderAttached, time.Time{})
	if _, err := w.publish(t, volume, nodeB); failure.Code(err) != codes.FailedPrecondition {
		t.Errorf("after a restart, b while a holds: got %v, want a conflict", err)
	}
}

// Two controllers act on one volume, each with its own memory of it. One holder comes out, and it is what the record
// says.
func TestTwoControllersAgreeOnOneHolder(t *testing.T) {
	w := newControllerWorld(t)
	volume := w.create(t)
	first := w.Service
	w.restart(t)
	second := w.Service
	w.setHolder(nodeA, attach.HolderAttached, time.Time{})
	w.setHolder(nodeB, attach.HolderAttached, time.Time{})
	results := make(chan error, 2)
	for node, controller := range map[string]*Service{nodeA: first, nodeB: second} {
		go func() {
			_, err := controller.ControllerPublishVolume(t.Context(), &csi.ControllerPublishVolumeRequest{VolumeId: volume, NodeId: node, VolumeCapability: singleWriter()})
			results <- err
		}()
	}
	var failed []error
	for range 2 {
		if err := <-results; err != nil {
			failed = append(failed, err)
		}
	}
	if len(failed) != 1 || failure.Code(failed[0]) != codes.FailedPrecondition {
		t.Errorf("failures: %v, want exactly one conflict", failed)
	}
}

// Deleting one of the Nodes mends it, so the sidecar tries again, and an operator is told which Nodes there are.
func TestNodesOfOneMachineAreRefusedAndBothNamed(t *testing.T) {
	w := newControllerWorld(t)
	volume := w.create(t)
	w.nodes.refusal = &attach.DuplicateMachineError{Machine: "machine-a", Nodes: []string{"node-a", "old-name"}}
	_, err := w.publish(t, volume, nodeA)
	if failure.Code(err) != codes.Unavailable || w.reachable() != "" {
		t.Errorf("got %v, exported %q, want UNAVAILABLE and nothing exported", err, w.reachable())
	}
	if len(w.notes) != 1 {
		t.Fatalf("got the notes %+v, want one", w.notes)
	}
	note := w.notes[0]
	if note.Reason != attach.DuplicateMachineIdentity || !note.Warning || note.Node != "node-a" || note.Volume != volume ||
		!strings.Contains(note.Message, "node-a") || !strings.Contains(note.Message, "old-name") {
		t.Errorf("got the note %+v, want a warning that names both Nodes", note)
	}
}

func TestPublishIsRefusedBeforeTheApplianceIsAsked(t *testing.T) {
	for _, refusal := range []error{attach.ErrUnknown, attach.ErrLeaving, attach.ErrSuperseded, attach.ErrNoNode} {
		w := newControllerWorld(t)
		volume := w.create(t)
		w.nodes.refusal = refusal
		if _, err := w.publish(t, volume, nodeA); !errors.Is(err, refusal) {
			t.Errorf("got %v, want %v", err, refusal)
		}
		if w.reachable() != "" {
			t.Error("something was exported")
		}
	}
}

// Somebody else wrote to the disk after the node was admitted: what Kubernetes wants may have changed with that.
func TestARequestThatIsDecidedAgainIsAdmittedAgain(t *testing.T) {
	for _, refusal := range []error{nil, attach.ErrSuperseded, attach.ErrLeaving} {
		t.Run(fmt.Sprint(refusal), func(t *testing.T) {
			w := newControllerWorld(t)
			volume := w.create(t)
			behind := w.Service
			w.restart(t)
			w.mustPublish(t, volume, nodeB)
			if err := w.unpublish(t, volume, nodeB); err != nil {
				t.Fatal(err)
			}
			w.Service, w.nodes.refuseLater = behind, refusal
			if _, err := w.publish(t, volume, nodeA); !errors.Is(err, refusal) {
				t.Errorf("got %v, want %v", err, refusal)
			}
			if exported := w.reachable() != ""; exported != (refusal == nil) {
				t.Errorf("exported: %t", exported)
			}
		})
	}
}

// An attachment that counts as attached, to a node that the record doesn't name, belongs to an earlier life of the
// node.
func TestAnAttachedAttachmentWithoutHoldingIsNotPublished(t *testing.T) {
	w := newControllerWorld(t)
	volume := w.create(t)
	w.nodes.admission = attach.Admission{Attached: true}
	if _, err := w.publish(t, volume, nodeA); failure.Code(err) != codes.Unavailable {
		t.Errorf("got %v, want UNAVAILABLE", err)
	}
}

func TestAnotherModeOnTheSameNode(t *testing.T) {
	w := newControllerWorld(t)
	volume := w.create(t)
	w.mustPublish(t, volume, nodeA)
	_, err := w.ControllerPublishVolume(t.Context(), &csi.ControllerPublishVolumeRequest{
		VolumeId: volume, NodeId: nodeA, VolumeCapability: mountCapability(csi.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER),
	})
	if failure.Code(err) != codes.AlreadyExists {
		t.Errorf("got %v, want ALREADY_EXISTS", err)
	}
}

func TestPublishRepairsAnExportThatDisagrees(t *testing.T) {
	for name, damage := range map[string]string{
		"export off": `/disk set [find where comment~"rds-csi"] nvme-tcp-export=no`,
		"wrong NQN":  `/disk set [find where comment~"rds-csi"] nvme-tcp-server-nqn="nqn.2026-11.example:other"`,
	} {
		t.Run(name, func(t *testing.T) {
			w := newControllerWorld(t)
			volume := w.create(t)
			first := w.mustPublish(t, volume, nodeA)
			if out, err := w.sim.Exec(t.Context(), damage); err != nil || out != "" {
				t.Fatalf("%s, %v", out, err)
			}
			if again := w.mustPublish(t, volume, nodeA); again != first || w.reachable() != first.Target.SubsystemNQN {
				t.Errorf("got %+v, exported %q, want %+v", again, w.reachable(), first)
			}
		})
	}
}

func TestUnpublish(t *testing.T) {
	const successor, predecessor = "node-a/machine-new", "node-a/machine-old"
	long := time.Now().Add(-time.Hour)
	tests := map[string]struct {
		leaver   string
		standing attach.HolderState
		since    time.Time
		want     codes.Code
		released bool
		// written is the record, though nobody may have been removed.
		written bool
	}{
		"the holder":                             {leaver: nodeA, released: true, written: true},
		"every node":                             {leaver: "", released: true, written: true},
		"another node":                           {leaver: nodeB, written: true},
		"a node of another kind":                 {leaver: "whatever", written: true},
		"the successor of a machine that's gone": {leaver: successor, standing: attach.HolderGone, released: true, written: true},
		"the same while too many nodes vanished": {leaver: successor, standing: attach.HolderGonePaused, released: true, written: true},
		"an earlier machine of the holder's name, the holder lives": {leaver: predecessor, standing: attach.HolderAttached},
		"the same, the holder is detached":                          {leaver: predecessor, standing: attach.HolderDetached},
		"another machine of the name, nothing known":                {leaver: successor, want: codes.Unavailable},
		"a machine that changed its identity and uses it":           {leaver: successor, standing: attach.HolderInUse, written: true},
		"the same, while its detach is asked for":                   {leaver: successor, standing: attach.HolderInUse, since: long, released: true, written: true},
		"the same, named itself":                                    {leaver: nodeA, standing: attach.HolderInUse, released: true, written: true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := newControllerWorld(t)
			volume := w.create(t)
			published := w.mustPublish(t, volume, nodeA)
			before := w.record(t, volume)
			w.setHolder(nodeA, test.standing, test.since)
			err := w.unpublish(t, volume, test.leaver)
			if got := failure.Code(err); (test.want == codes.OK) != (err == nil) || err != nil && got != test.want {
				t.Fatalf("got %v, want %s", err, test.want)
			}
			want := published.Target.SubsystemNQN
			if test.released {
				want = ""
			}
			if got := w.reachable(); got != want {
				t.Errorf("exported: got %q, want %q", got, want)
			}
			if written := w.record(t, volume).Token != before.Token; written != test.written {
				t.Errorf("the record was written: %t, want %t", written, test.written)
			}
		})
	}
}

// A publish that is still on its way when its caller has given up and unpublished must miss.
func TestALatePublishMisses(t *testing.T) {
	w := newControllerWorld(t)
	volume := w.create(t)
	seen := w.disk(t, volume)
	if err := w.unpublish(t, volume, nodeA); err != nil {
		t.Fatal(err)
	}
	changed := (*rds.ChangedError)(nil)
	if _, err := w.client.Publish(t.Context(), seen, seen.Record.Publish(nodeA, attach.AccessMount, "single-node-writer", false)); !errors.As(err, &changed) {
		t.Errorf("the late publish: got %v, want it to miss", err)
	}
	if w.reachable() != "" {
		t.Error("the late publish exported the disk")
	}
}
