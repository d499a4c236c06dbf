package fence

import (
	"flag"
	"fmt"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/controller"
	"git.srvlab.io/whiskey/rds-csi-driver/test/guest/world"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim"
)

var rounds = flag.Int("fence-rounds", 10, "how many take-overs to try")

// field is where a siege takes place: the appliance is in this guest, node A in one of the two, and node B in the other one.
type field struct {
	*world.World

	here, there *machine
	monitor     *monitor // of the machine that is there
}

// newField is as kind to the old node as an appliance can be: its disks keep their identity over everything, so that a
// kernel has no reason of its own to give up.
func newField(t *testing.T, broken func(controller.Appliance, *sim.Sim) controller.Appliance) *field {
	t.Helper()
	w := world.New(t, world.Options{Appliance: broken, Sim: func(o *sim.Options) { o.Exports.StableIdentity = true }})
	return &field{World: w, here: thisMachine(t), there: otherMachine(t), monitor: openMonitor(t)}
}

func TestTheOldNodeNeverWritesAgain(t *testing.T) {
	w := newField(t, nil)
	for round := range *rounds {
		variant := variants()[round%len(variants())]
		t.Run(fmt.Sprintf("%d %s", round+1, variant.name), func(t *testing.T) {
			o := besiege(t, w, fmt.Sprintf("pvc-%d", round), variant)
			t.Log(o)
			if !o.fenced() {
				t.Error("the old node wrote to the volume after it was published to another node")
			}
			if variant.frozen() && !o.tried() {
				t.Error("the old node wasn't frozen in the middle of writing, or didn't go on: this round shows nothing")
			}
		})
	}
}
