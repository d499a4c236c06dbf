package target

import (
	"fmt"
	"strings"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme/tcp"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/test/guest/world"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/export"
	"git.srvlab.io/whiskey/rds-csi-driver/test/simtest"
)

// What the check of an appliance says of the kernel's target is what the kernel does.
func TestTheCheckOfAnAppliance(t *testing.T) {
	tests := map[string]struct {
		change func(*sim.Options)
		failed string
	}{
		"on the kernel's target":        {func(*sim.Options) {}, ""},
		"an exec is one change":         {func(o *sim.Options) { o.Unknowns.CoalesceExports = true }, "fence"},
		"a rename needs another export": {func(o *sim.Options) { o.Unknowns.RenameNeedsReexport = true }, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			world.Guest(t)
			simulator, config := simtest.Start(t, func(o *sim.Options) { o.Exports.Kernel = world.Export(t); test.change(o) })
			var failed []string
			check := rds.Check{Pool: simtest.Pool, Directory: "rds-csi", Connect: simtest.Initiator(world.Target), Report: func(finding rds.Finding) {
				t.Logf("%s: %s: %s", finding.Check, finding.Result, finding.Detail)
				if finding.Result == rds.ResultFailed {
					failed = append(failed, finding.Check)
				}
			}}
			checker, err := rds.NewChecker(simtest.Client(t, config), check)
			if err != nil {
				t.Fatal(err)
			}
			err = checker.Run(t.Context())
			if got := strings.Join(failed, " "); got != test.failed || (err != nil) != (test.failed != "") {
				t.Errorf("failed: %q, %v, want %q", got, err, test.failed)
			}
			if disks := simulator.Disks(); len(disks) > 0 {
				t.Errorf("disks left behind: %+v", disks)
			}
		})
	}
}

func TestARefusalOfTheKernelSaysWhy(t *testing.T) {
	r, s := exported(t, func(s *export.Subsystem) { s.AllowHost = "nqn.2026-11.test:a" })
	for host, want := range map[string]string{"nqn.2026-11.test:a": "", "nqn.2026-11.test:b": "doesn't admit this host"} {
		connection, err := tcp.Connect(t.Context(), world.Target, s.NQN, host)
		if got := fmt.Sprint(err); (err == nil) != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%s: got %v, want %q", host, err, want)
		}
		if err == nil {
			connection.Close()
		}
	}
	if _, err := tcp.Connect(t.Context(), world.Target, s.NQN+"x", "nqn.2026-11.test:a"); err == nil || !strings.Contains(err.Error(), "no such subsystem") {
		t.Errorf("another subsystem: got %v", err)
	}
	held, err := tcp.Connect(t.Context(), world.Target, s.NQN, "nqn.2026-11.test:a")
	if err != nil {
		t.Fatal(err)
	}
	r.Withdraw("x")(t.Context())
	<-held.Ended()
}
