package rds_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim"
	"git.srvlab.io/whiskey/rds-csi-driver/test/simtest"
)

// RouterOS echoes critical logs into sessions. A log line that stands before a marker mustn't hide what the marker says.
func TestAnEchoedLogHidesNothing(t *testing.T) {
	r := newRig(t, withoutFTP)
	held := r.publish(t, r.create(t))
	r.sim.Inject(sim.Fault{Kind: sim.Echo, Line: "12:00:00 system,error,critical login failure for user admin"}, sim.When{})
	if got, err := r.Get(t.Context(), held.ID); err != nil || !got.Exported {
		t.Errorf("get: got %+v, %v, want the exported disk", got, err)
	}
	if got, err := r.List(t.Context()); err != nil || len(got) != 1 {
		t.Errorf("list: got %+v, %v, want the one disk", got, err)
	}
	if got, err := r.Health(t.Context()); err != nil || len(got) != 1 || !got[0].PoolMounted {
		t.Errorf("health: got %+v, %v, want that of the one disk", got, err)
	}
	if got, err := r.Capacity(t.Context(), simtest.Pool); err != nil || got.Promised != held.Size {
		t.Errorf("capacity: got %+v, %v, want %d bytes promised", got, err, held.Size)
	}
	if got, err := r.Survey(t.Context(), "rds-csi"); err != nil || len(got.Disks) != 1 || len(got.Files) > 0 {
		t.Errorf("survey: got %+v, %v, want the one disk and no file without one", got, err)
	}
	if got, err := r.Probe(t.Context()); err != nil || !got.Package {
		t.Errorf("probe: got %+v, %v", got, err)
	}
	if free, err := r.Unpublish(t.Context(), held, held.Record.Unpublish("")); err != nil || free.Exported {
		t.Errorf("unpublish: got %+v, %v, want it not exported", free, err)
	}
	if err := r.Delete(t.Context(), held.ID, 0); err != nil || len(r.sim.Disks()) > 0 {
		t.Errorf("delete: got %v with disks %+v, want none", err, r.sim.Disks())
	}
}

// An appliance that cuts its listings mustn't pass for one that has no more.
func TestAListingThatIsCutIsRefused(t *testing.T) {
	r := newRig(t, withoutFTP, func(o *sim.Options) { o.Unknowns.PrintMax = 2 })
	for i := range 3 {
		r.createOn(t, simtest.Pool, "rds-csi", fmt.Sprintf("pvc-%d", i))
	}
	if got, err := r.List(t.Context()); !errors.Is(err, rds.ErrIncomplete) {
		t.Errorf("list: got %+v, %v, want ErrIncomplete", got, err)
	}
	if got, err := r.Health(t.Context()); !errors.Is(err, rds.ErrIncomplete) {
		t.Errorf("health: got %+v, %v, want ErrIncomplete", got, err)
	}
	if got, err := r.Capacity(t.Context(), simtest.Pool); !errors.Is(err, rds.ErrIncomplete) {
		t.Errorf("capacity: got %+v, %v, want ErrIncomplete", got, err)
	}
	if got, err := r.Survey(t.Context(), "rds-csi"); !errors.Is(err, rds.ErrIncomplete) {
		t.Errorf("survey: got %+v, %v, want ErrIncomplete", got, err)
	}
	if got, err := r.Get(t.Context(), volumeID(t, "pvc-1")); err != nil {
		t.Errorf("get: got %+v, %v, want the disk: its listing isn't cut", got, err)
	}
}

// A reply that says nothing proves nothing. The disk may have been made.
func TestAStumpOfAReplyIsNoRefusal(t *testing.T) {
	for keep := range 17 {
		r := newRig(t)
		r.sim.Inject(sim.Fault{Kind: sim.Truncate, Keep: keep}, sim.When{})
		disk, err := r.tryCreate(t, rds.Size{Bytes: 16 * mebibyte})
		if !errors.Is(err, rds.ErrUnknownOutcome) {
			t.Errorf("create, with %d bytes of the reply: got %+v, %v, want ErrUnknownOutcome", keep, disk, err)
		}
		if _, err := r.List(t.Context()); !errors.Is(err, rds.ErrUnreachable) {
			t.Errorf("list, with %d bytes of the reply: got %v, want ErrUnreachable", keep, err)
		}
	}
}

// Only what RouterOS is known to say before it runs anything, or for want of a policy, is a refusal of the whole line.
func TestWhatCountsAsARefusal(t *testing.T) {
	for text, refusal := range map[string]bool{
		"expected end of command (line 1 column 24)":                                 true,
		"expected command name (line 1 column 2)":                                    true,
		"syntax error (line 1 column 8)":                                             true,
		"Bad command name foo (line 1 column 7)":                                     true,
		"bad parameter nvme-tcp-export (line 1 column 12)":                           true,
		"not enough permissions (9)":                                                 true,
		"not enough permissions (9) (/disk/print; line 1)":                           true,
		"not allowed (9)":                                                            true,
		"std failure: not allowed (9)":                                               true,
		"Welcome!\r\n\r\nexpected end of command (line 1 column 24)":                 true,
		"12:00 system,info,account user csi logged in\r\nnot enough permissions (9)": true,
		"expected end of comm":                                                       false,
		"expected end of command (line 1 column 2":                                   false,
		"expected guests tonight":                                                    false,
		"no such item":                                                               false,
		"no such item (4)":                                                           false,
		"failure: not enough disk space":                                             false,
		"input does not match any value of type":                                     false,
		"invalid value for argument file-size":                                       false,
		"interrupted":                                                                false,
		"action timed out":                                                           false,
		"12:00 system,critical we are not enough permissions (9)":                    false,
		"Welcome!": false,
		"":         false,
	} {
		r := newRig(t)
		r.sim.Inject(sim.Fault{Kind: sim.Reject, Line: text}, sim.When{})
		_, err := r.tryCreate(t, rds.Size{Bytes: 16 * mebibyte})
		command := (*rds.CommandError)(nil)
		if errors.As(err, &command) != refusal || errors.Is(err, rds.ErrUnknownOutcome) == refusal {
			t.Errorf("%q: got %v, want a refusal: %t", text, err, refusal)
		}
		if refusal && !strings.HasSuffix(text, command.Text) {
			t.Errorf("%q: the error names %q", text, command.Text)
		}
	}
}
