package export_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/export"
)

// diary is a kernel that writes down what it is told.
type diary struct{ lines []string }

func (d *diary) Publish(s export.Subsystem) { d.lines = append(d.lines, "publish "+s.NQN+" "+s.Serial) }

func (d *diary) Update(s export.Subsystem) {
	d.lines = append(d.lines, "update "+s.NQN+" "+s.AllowHost)
}
func (d *diary) Withdraw(s export.Subsystem) { d.lines = append(d.lines, "withdraw "+s.NQN) }
func (d *diary) Lose()                       { d.lines = append(d.lines, "lose") }
func (d *diary) Restore()                    { d.lines = append(d.lines, "restore") }

func TestTheKernelFollowsEveryChange(t *testing.T) {
	kernel := &diary{}
	r := published(export.Options{Kernel: kernel, StableIdentity: true})
	serial := connect(t, r, "a").Serial
	r.Update("x", func(s *export.Subsystem) { s.AllowHost = "b" })
	r.Update("unknown", func(*export.Subsystem) {})
	r.End(r.Sessions()[0].ID)
	r.Withdraw("x")(t.Context())
	r.Withdraw("x")(t.Context())
	r.Lose()
	r.Restore()
	want := []string{"publish nqn:x " + serial, "update nqn:x b", "withdraw nqn:x", "lose", "restore"}
	if diff := cmp.Diff(want, kernel.lines); diff != "" {
		t.Errorf("what the kernel was told (-want +got):\n%s", diff)
	}
}
