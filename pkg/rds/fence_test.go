package rds_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim"
	"git.srvlab.io/whiskey/rds-csi-driver/test/simtest"
)

// fenceRig is a client that keeps what it was told of fences.
type fenceRig struct {
	rig
	mu   sync.Mutex
	told []rds.FenceOutcome
}

func newFenceRig(t *testing.T) *fenceRig {
	t.Helper()
	f := &fenceRig{rig: newRig(t)}
	f.config.ObserveFence = func(outcome rds.FenceOutcome, took time.Duration) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if took < 0 || !slices.Contains(rds.FenceOutcomes(), outcome) {
			outcome = "undeclared, or before it began: " + outcome
		}
		f.told = append(f.told, outcome)
	}
	f.Client = simtest.Client(t, f.config)
	return f
}

// fencing are the operations that revoke access to a disk that a node holds.
func fencing() map[string]func(context.Context, *rds.Client, rds.Disk) (rds.Disk, error) {
	return map[string]func(context.Context, *rds.Client, rds.Disk) (rds.Disk, error){
		"unpublish": func(ctx context.Context, c *rds.Client, held rds.Disk) (rds.Disk, error) {
			return c.Unpublish(ctx, held, held.Record.Unpublish("node-a/machine-a"))
		},
		"give to another node": func(ctx context.Context, c *rds.Client, held rds.Disk) (rds.Disk, error) {
			return c.Publish(ctx, held, held.Record.Publish("node-b/machine-b", "mount", "single-node-writer", false))
		},
		"withdraw": func(ctx context.Context, c *rds.Client, held rds.Disk) (rds.Disk, error) {
			return c.Withdraw(ctx, held)
		},
	}
}

// However access is revoked, it is told of once, and is confirmed only if the appliance showed that it holds.
func TestEveryFenceIsToldOf(t *testing.T) {
	again := sim.Fault{Kind: sim.Interleave, Statements: 1, Lines: []string{"/disk set [find slot={slot}] nvme-tcp-export=yes"}}
	for name, operate := range fencing() {
		for _, test := range []struct {
			name  string
			fault sim.Fault
			when  sim.When
			want  rds.FenceOutcome
		}{
			{"nothing goes wrong", sim.Fault{}, sim.When{}, rds.FenceConfirmed},
			{"the first reply is lost", sim.Fault{Kind: sim.ReplyLost}, sim.Once(), rds.FenceConfirmed},
			{"every reply is lost", sim.Fault{Kind: sim.ReplyLost}, sim.When{}, rds.FenceUnconfirmed},
			{"the connection is cut, and then there is none", sim.Fault{Kind: sim.DropBefore}, sim.When{}, rds.FenceUnconfirmed},
			{"the appliance refuses the line", sim.Fault{Kind: sim.Reject, Line: "bad command name foo (line 1 column 1)"}, sim.When{}, rds.FenceFailed},
			{"the user may not write", sim.Fault{Kind: sim.LosePolicy, Policy: "write"}, sim.When{}, rds.FenceFailed},
			{"the appliance can't be reached", sim.Fault{Kind: sim.AuthRefused}, sim.When{}, rds.FenceFailed},
			{"somebody switches the export on again", again, sim.When{}, rds.FenceFailed},
		} {
			if test.fault.Kind == sim.Interleave && name != "withdraw" {
				continue // these switch the export off once more
			}
			t.Run(name+", "+test.name, func(t *testing.T) {
				f := newFenceRig(t)
				held := f.publish(t, f.create(t))
				if len(f.told) != 0 {
					t.Errorf("a new volume that is published: told of %v, though nobody had access", f.told)
				}
				if test.fault.Kind != sim.NoFault {
					f.sim.Inject(test.fault, test.when)
				}
				_, err := operate(t.Context(), f.Client, held)
				if (err == nil) != (test.want == rds.FenceConfirmed) {
					t.Errorf("got %v, want %s", err, test.want)
				}
				if !slices.Equal(f.told, []rds.FenceOutcome{test.want}) {
					t.Errorf("told of %v, want %s once (%v)", f.told, test.want, err)
				}
			})
		}
	}
}

// What takes nobody's access away is no fence, and what somebody else's write forestalled is decided anew.
func TestWhatRevokesNothingIsNoFence(t *testing.T) {
	for name, operate := range fencing() {
		t.Run(name, func(t *testing.T) {
			f := newFenceRig(t)
			held := f.publish(t, f.create(t))
			off, err := f.Unpublish(t.Context(), held, held.Record.Unpublish(""))
			if err != nil {
				t.Fatal(err)
			}
			f.told = nil
			if _, err := operate(t.Context(), f.Client, held); err == nil {
				t.Error("a disk that somebody else wrote to: want an error")
			}
			if _, err := operate(t.Context(), f.Client, off); err != nil {
				t.Error(err)
			}
			if len(f.told) != 0 {
				t.Errorf("told of %v, want nothing", f.told)
			}
		})
	}
	f := newFenceRig(t)
	disk := f.create(t)
	shared, err := f.Publish(t.Context(), disk, disk.Record.Publish("node-a/machine-a", "block", "multi-node-multi-writer", false))
	if err == nil {
		shared, err = f.Publish(t.Context(), shared, shared.Record.Join("node-b/machine-b"))
	}
	if err == nil {
		_, err = f.Unpublish(t.Context(), shared, shared.Record.Depart("node-a/machine-a"))
	}
	if err != nil || len(f.told) != 0 {
		t.Errorf("a node that joins and one that departs while the other stays: %v, told of %v", err, f.told)
	}
}
