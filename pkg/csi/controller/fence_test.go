package controller

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim"
	"git.srvlab.io/whiskey/rds-csi-driver/test/simtest"
)

// lets tells whether the appliance's target lets a host in under this subsystem NQN.
func (w *controllerWorld) lets(t *testing.T, subsystemNQN string) bool {
	t.Helper()
	body := fmt.Sprintf(`{"subsystemNQN": %q, "hostNQN": "nqn.2014-08.org.nvmexpress:uuid:x"}`, subsystemNQN)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.sim.TargetURL()+"/v1/connect", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	return response.StatusCode == http.StatusOK
}

// While a volume is passed on, another session may switch its export on again, between any two statements. Whether an
// exported disk then takes a new name at once or only at its next export, nobody outside the appliance can come back
// in.
func TestAFenceHoldsWhateverComesBetween(t *testing.T) {
	for _, renameNeedsReexport := range []bool{false, true} {
		for statements := range 4 {
			t.Run(fmt.Sprint(renameNeedsReexport, statements), func(t *testing.T) {
				simulator, config := simtest.Start(t, func(o *sim.Options) { o.Unknowns.RenameNeedsReexport = renameNeedsReexport })
				w := &controllerWorld{nodes: &fakeNodes{holderStates: map[string]attach.Holder{}}, sim: simulator, config: config}
				w.restart(t)
				volume := w.create(t)
				old := w.mustPublish(t, volume, nodeA)
				w.setHolder(nodeA, attach.HolderGone, time.Time{})
				simulator.Inject(sim.Fault{
					Kind: sim.Interleave, Statements: statements, Lines: []string{`/disk set [find where slot="{slot}"] nvme-tcp-export=yes`},
				}, sim.When{Times: 1, Command: regexp.MustCompile(`disk set`)})
				next := w.mustPublish(t, volume, nodeB)
				if w.lets(t, old.Target.SubsystemNQN) {
					t.Error("the old holder is let in again")
				}
				if !w.lets(t, next.Target.SubsystemNQN) {
					t.Error("the new holder is kept out")
				}
			})
		}
	}
}
