package rds_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
	"git.srvlab.io/whiskey/rds-csi-driver/test/simtest"
)

// checked runs the appliance check and returns its findings by name.
func checked(ctx context.Context, t *testing.T, r rig) (map[string]rds.Finding, error) {
	t.Helper()
	return checkedWith(ctx, t, r, rds.Check{})
}

func checkedWith(ctx context.Context, t *testing.T, r rig, check rds.Check) (map[string]rds.Finding, error) {
	t.Helper()
	findings := map[string]rds.Finding{}
	check.Pool, check.Directory, check.Connect = simtest.Pool, "rds-csi", simtest.Initiator(r.sim.NVMeAddr())
	check.Report = func(finding rds.Finding) {
		if _, known := findings[finding.Check]; !known || finding.Result == rds.ResultFailed {
			findings[finding.Check] = finding
		}
	}
	checker, err := rds.NewChecker(r.Client, check)
	if err != nil {
		t.Fatal(err)
	}
	return findings, checker.Run(ctx)
}

func (r rig) nothingLeft(t *testing.T) {
	t.Helper()
	if disks := r.sim.Disks(); len(disks) != 0 {
		t.Errorf("disks left behind: %+v", disks)
	}
	if files := r.execute(t, `:put [:len [/file find where name~".img"]]`); files != "0" {
		t.Errorf("%s files left behind", files)
	}
}

func TestCheckOfAGoodAppliance(t *testing.T) {
	r := newRig(t)
	findings, err := checked(t.Context(), t, r)
	if err != nil {
		t.Errorf("got %v, %v", err, findings)
	}
	for _, name := range []string{"connection", "host key", "version", "permissions", "pool", "inventory", "probe disk", "size", "line", "guards", "comment", "subsystem NQN", "allowed host", "export", "growth", "backing file", "content", "fence, alone", "fence, beside another export", "clean-up"} {
		if finding, found := findings[name]; !found || finding.Result == rds.ResultFailed || finding.Detail == "" {
			t.Errorf("%s: got %+v, want a finding that isn't a failure", name, finding)
		}
	}
	r.nothingLeft(t)
}

func TestCheckFindsWhatIsWrong(t *testing.T) {
	tests := map[string]struct {
		change  func(*sim.Options)
		before  string
		finding string
		result  rds.Result
	}{
		"too old":              {func(o *sim.Options) { o.Version = "7.19" }, "", "version", rds.ResultFailed},
		"no package":           {func(o *sim.Options) { o.WithoutRose = true }, "", "version", rds.ResultFailed},
		"no write policy":      {func(o *sim.Options) { o.Users[0].Policies = &appliance.Policies{SSH: true, Read: true, Test: true} }, "", "probe disk", rds.ResultFailed},
		"just booted":          {func(o *sim.Options) { o.Uptime = 0 }, "", "inventory", rds.ResultFailed},
		"stray files":          {nil, `/file add name="raid10/rds-csi" type=directory; /file add name="raid10/rds-csi/c9" type=directory; /file add name="raid10/rds-csi/c9/csi-0011223344556677889900112233.img" type=file`, "inventory", rds.ResultNote},
		"attaching empties":    {func(o *sim.Options) { o.Unknowns.AttachEmptiesFile = true }, "", "content", rds.ResultFailed},
		"no ftp policy":        {withoutFTP, "", "content", rds.ResultNote},
		"pool as good as full": {func(o *sim.Options) { o.Pools[0].Size = 1 << 19 }, "", "probe disk", rds.ResultFailed},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			change := test.change
			if change == nil {
				change = func(*sim.Options) {}
			}
			r := newRig(t, change)
			if test.before != "" {
				r.execute(t, test.before)
			}
			findings, err := checked(t.Context(), t, r)
			if got := findings[test.finding]; got.Result != test.result {
				t.Errorf("%s: got %+v, want %s", test.finding, got, test.result)
			}
			if (err != nil) != (test.result == rds.ResultFailed) {
				t.Errorf("got %v for a finding that is %s", err, test.result)
			}
			if disks := r.sim.Disks(); len(disks) != 0 {
				t.Errorf("disks left behind: %+v", disks)
			}
		})
	}
}

func TestTheInventoryNamesWhatDoesNotPair(t *testing.T) {
	r := newRig(t)
	r.create(t)
	r.ofCluster(t, "cluster-2").createOn(t, simtest.Pool, "rds-csi", "theirs")
	r.createOn(t, simtest.Pool, "old/place", "pvc-2")
	const stray = "raid10/rds-csi/cluster-1/csi-0011223344556677889900112233.img"
	r.execute(t, `/file add name="`+stray+`" type=file`)
	r.execute(t, `/file add name="raid10/rds-csi-OTHER" type=directory; /file add name="raid10/rds-csi-OTHER/c9" type=directory; /file add name="raid10/rds-csi-OTHER/c9/csi-0011223344556677889900112233.img" type=file`)
	r.execute(t, `/disk add type=file slot="operator" file-path="/raid10/rds-csi/operator.img" file-size=1048576`)
	r.execute(t, `/disk add type=file slot="elsewhere" file-path="/raid10/operator.img" file-size=1048576`)
	want := "2 disks of this driver, files without a disk: [" + stray + "], disks of others: [raid10/rds-csi/operator]"
	findings, err := checked(t.Context(), t, r)
	if got := findings["inventory"]; err != nil || got.Result != rds.ResultNote || got.Detail != want {
		t.Errorf("got %+v, %v, want %q", got, err, want)
	}
}

// RouterOS doesn't name the policy that is missing.
func TestAMissingPolicyIsToldWithWhatIsNeeded(t *testing.T) {
	for name, policies := range map[string]appliance.Policies{
		"write": {SSH: true, Read: true, Test: true}, "test": {SSH: true, Read: true, Write: true}, "read": {SSH: true, Write: true, Test: true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(o *sim.Options) { o.Users[0].Policies = &policies })
			findings, err := checked(t.Context(), t, r)
			told := findings["connection"].Detail + findings["probe disk"].Detail
			if err == nil || !strings.Contains(told, "ssh, read, write and test") {
				t.Errorf("got %v, %q, want the policies that are needed", err, told)
			}
			if cleanUp := findings["clean-up"]; cleanUp.Result == rds.ResultFailed {
				t.Errorf("it asks for what was never made to be removed: %s", cleanUp.Detail)
			}
		})
	}
}

// interrupting ends a context after so many commands.
type interrupting struct {
	simtest.Console

	cancel context.CancelFunc
	after  atomic.Int64
}

// Exec runs the line, and interrupts when it has run.
func (i *interrupting) Exec(ctx context.Context, line string) (string, error) {
	output, err := i.Console.Exec(ctx, line)
	if i.after.Add(-1) == 0 {
		i.cancel()
	}
	return output, err
}

// Whenever it is interrupted, nothing stays behind.
func TestAnInterruptedCheckLeavesNothingBehind(t *testing.T) {
	r := newRig(t)
	ssh := simtest.SSH(t, r.config.SSH)
	const most = 80
	for stop := int64(1); stop <= most; stop++ {
		ctx, cancel := context.WithCancel(t.Context())
		over := &interrupting{Console: simtest.Console{Transport: ssh, Sim: r.sim, Change: strings.NewReplacer()}, cancel: cancel}
		over.after.Store(stop)
		r.Client = simtest.ClientOver(t, r.config.Config, over)
		_, err := checked(ctx, t, r)
		cancel()
		r.nothingLeft(t)
		if err == nil {
			t.Logf("the whole check took %d commands", stop-over.after.Load())
			return
		}
		if !strings.Contains(fmt.Sprint(err), "interrupted") {
			t.Errorf("interrupted at command %d: got %v", stop, err)
		}
	}
	t.Errorf("the check still runs after %d commands", most)
}
