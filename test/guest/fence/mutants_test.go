package fence

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/controller"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim"
)

// attempts is how many take-overs a fence that is none may survive.
const attempts = 5

// noFence is an appliance that gives a held volume to another node without a new epoch, and does something else instead.
type noFence struct {
	controller.Appliance

	sim     *sim.Sim
	instead func(slot string) (lines []string)
}

// Publish writes the record as it should be, but for the epoch.
func (n noFence) Publish(ctx context.Context, seen rds.Disk, next rds.Record) (rds.Disk, error) {
	if !seen.Record.Held() {
		return n.Appliance.Publish(ctx, seen, next)
	}
	next.Holding.Epoch = seen.Record.Holding.Epoch
	disk, err := n.Appliance.Publish(ctx, seen, next)
	for _, line := range n.instead(seen.ID.Slot()) {
		if _, err := n.sim.Exec(ctx, line); err != nil {
			return disk, err
		}
	}
	return disk, err
}

func TestWhatIsNoFenceIsFoundOut(t *testing.T) {
	set := func(slot, what string) string { return fmt.Sprintf(`/disk set [find where slot=%q] %s`, slot, what) }
	for name, instead := range map[string]func(string) []string{
		"the export goes off and on under the same NQN": func(slot string) []string {
			return []string{set(slot, "nvme-tcp-export=no"), set(slot, "nvme-tcp-export=yes")}
		},
		"another host is allowed": func(slot string) []string {
			return []string{set(slot, fmt.Sprintf("nvme-tcp-server-allow-host-name=%q", nvme.HostOf("machine-b").NQN))}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newField(t, func(appliance controller.Appliance, s *sim.Sim) controller.Appliance {
				return noFence{Appliance: appliance, sim: s, instead: instead}
			})
			for _, variant := range []variant{notTold(), frozen()} {
				t.Run(variant.name, func(t *testing.T) { findOut(t, w, variant) })
			}
		})
	}
}

// findOut besieges until the old node is seen to write afterwards.
func findOut(t *testing.T, w *field, v variant) {
	t.Helper()
	for attempt := range attempts {
		o := besiege(t, w, fmt.Sprintf("%s-%d", strings.ReplaceAll(v.name, " ", "-"), attempt), v)
		t.Log(o)
		if !o.fenced() {
			return
		}
	}
	t.Errorf("the old node was never seen to write afterwards: the check can't see what it is there to see")
}
