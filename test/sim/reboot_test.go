package sim_test

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
)

// reboot takes the appliance down.
func (r *rig) reboot(t *testing.T, boot appliance.Boot) {
	t.Helper()
	if err := r.Reboot(t.Context(), boot); err != nil {
		t.Fatal(err)
	}
}

func TestARebootGoesThroughItsPhases(t *testing.T) {
	const show = `:put [/disk print as-value proplist=slot,mounted,empty,free,comment,nvme-tcp-export]; :put [:len [/file find]]`
	r := withDisk(t, func(o *sim.Options) { o.Uptime = 24 * time.Hour })
	before := r.operate(t, show)
	client, err := r.login(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r.connect(t, "nqn:0")

	r.reboot(t, appliance.Boot{})
	if err := client.Wait(); err == nil {
		t.Error("the SSH connection ended in peace, want it cut")
	}
	if r.broken() != 1 {
		t.Errorf("got sessions %+v, want the initiator's broken and not revoked", r.Sessions())
	}
	if _, err := r.try(t.Context(), `:put 1`); err == nil {
		t.Error("down: a line was answered")
	}
	if _, err := r.Exec(t.Context(), `:put 1`); !errors.Is(err, appliance.ErrPowerOff) {
		t.Errorf("down: an operator got %v, want ErrPowerOff", err)
	}
	if status := r.connect(t, "nqn:0"); status != http.StatusServiceUnavailable {
		t.Errorf("down: an initiator got status %d, want 503", status)
	}

	if got := r.NextPhase(); got != appliance.Starting {
		t.Fatalf("got phase %v, want starting", got)
	}
	want := ".id=*1;mounted=false;slot=raid10;.id=*2;comment=0;empty=true;nvme-tcp-export=true;slot=x\r\n0\r\n"
	if got, err := r.try(t.Context(), show); got != want || err != nil {
		t.Errorf("starting:\ngot  %q, %v\nwant %q", got, err, want)
	}
	if got := r.operate(t, `:put [/system resource get uptime]`); !strings.HasPrefix(got, "00:0") {
		t.Errorf("starting: up for %s, want uptime to begin anew", got)
	}
	if got := r.operate(t, `/disk add type=file slot=y file-path=raid10/y.img file-size=1M`); !strings.HasPrefix(got, "failure: ") {
		t.Errorf("starting: add gave %q, want a failure", got)
	}
	if status := r.connect(t, "nqn:0"); status != http.StatusServiceUnavailable {
		t.Errorf("starting: an initiator got status %d, want 503", status)
	}

	if got := r.NextPhase(); got != appliance.Up || r.NextPhase() != appliance.Up {
		t.Fatalf("got phase %v, want up", got)
	}
	if got := r.operate(t, show); got != before {
		t.Errorf("up:\ngot  %q\nwant %q", got, before)
	}
	if status := r.connect(t, "nqn:0"); status != http.StatusOK {
		t.Errorf("up: an initiator got status %d, want 200", status)
	}
}

func TestAFaultSaysHowTheApplianceComesBack(t *testing.T) {
	r := withDisk(t)
	r.Inject(sim.Fault{Kind: sim.Restart, Boot: appliance.Boot{EmptyListings: true, ExportsOff: true}}, sim.Once())
	if _, err := r.try(t.Context(), `:put 1`); err == nil {
		t.Error("the line was answered")
	}
	r.NextPhase()
	if got := r.operate(t, `:put [:len [/disk find]]`); got != "0" {
		t.Errorf("starting: %s disks are listed, want none", got)
	}
	r.NextPhase()
	if got := r.Disks()[0]; got.Exported {
		t.Errorf("up: got %+v, want it not exported", got)
	}
}

func TestListingsCanBeEmptyWhileStarting(t *testing.T) {
	r := withDisk(t)
	r.reboot(t, appliance.Boot{EmptyListings: true})
	r.NextPhase()
	if got := r.operate(t, `:put [:len [/disk find]]; :put [:len [/file find]]`); got != "0\r\n0" {
		t.Errorf("starting: got %q, want nothing", got)
	}
	r.NextPhase()
	if got := r.operate(t, `:put [:len [/disk find]]; :put [:len [/file find]]`); got != "2\r\n2" {
		t.Errorf("up: got %q, want everything", got)
	}
}

func TestExportsCanStayOffAfterAReboot(t *testing.T) {
	r := withDisk(t)
	r.reboot(t, appliance.Boot{ExportsOff: true})
	r.comeUp()
	if got := r.Disks()[0]; got.Exported || got.Comment != "0" {
		t.Errorf("got %+v, want it not exported", got)
	}
	if status := r.connect(t, "nqn:0"); status != http.StatusForbidden {
		t.Errorf("an initiator got status %d, want 403", status)
	}
}

func TestARebootEndsARunningLineWhereItIs(t *testing.T) {
	// The client hears of the reboot before the line has ended.
	over := make(chan struct{}, 1)
	r := withDisk(t, func(o *sim.Options) { o.Observe = func(sim.Execution) { over <- struct{}{} } })
	r.SetFault(func(string) sim.Fault {
		return sim.Fault{Kind: sim.Interleave, Statements: 1, Act: func(string) {
			r.reboot(t, appliance.Boot{})
			r.comeUp()
		}}
	})
	_, err := r.try(t.Context(), `/disk set x comment="1"; /disk set x comment="2"`)
	<-over
	if got := r.comment(t); got != "1" || err == nil {
		t.Errorf("got the comment %q and error %v, want the second statement never run, and no exit status", got, err)
	}
}

func TestAPowerCutTakesRecordNQNAndExportBackTogether(t *testing.T) {
	const hold = `/disk set x nvme-tcp-export=no; /disk set x nvme-tcp-server-nqn="nqn:1" comment="1"; /disk set x nvme-tcp-export=yes`
	tests := map[string]struct {
		delay, passed time.Duration
		boot          appliance.Boot
		want          string
	}{
		"nothing is delayed":  {0, 0, appliance.Boot{PowerCut: true}, "1"},
		"too young":           {40 * time.Second, 30 * time.Second, appliance.Boot{PowerCut: true}, "0"},
		"old enough":          {40 * time.Second, 41 * time.Second, appliance.Boot{PowerCut: true}, "1"},
		"an orderly shutdown": {40 * time.Second, 0, appliance.Boot{}, "1"},
	}
	for name, test := range tests {
		r := withDisk(t, func(o *sim.Options) { o.FlashDelay = test.delay })
		r.Advance(time.Hour)
		r.operate(t, hold)
		r.operate(t, `/file add name="raid10/made-later" type=directory`)
		r.Advance(test.passed)
		r.reboot(t, test.boot)
		r.comeUp()
		got := r.Disks()[0]
		if got.Comment != test.want || got.SubsystemNQN != "nqn:"+test.want || !got.Exported {
			t.Errorf("%s: got %+v, want everything of %s", name, got, test.want)
		}
		if status := r.connect(t, "nqn:"+test.want); status != http.StatusOK {
			t.Errorf("%s: connect to the subsystem of %s: status %d", name, test.want, status)
		}
		if got := r.operate(t, `:put [:len [/file find where name="raid10/made-later"]]`); got != "1" {
			t.Errorf("%s: files found: %s, want what is on the pool to stay", name, got)
		}
	}
}

func TestAPowerCutGoesBackByTheTimeOfEachWrite(t *testing.T) {
	r := withDisk(t, func(o *sim.Options) { o.FlashDelay = 40 * time.Second })
	for _, comment := range []string{"1", "2", "3"} {
		r.operate(t, `/disk set x comment="`+comment+`"`)
		r.Advance(25 * time.Second)
	}
	// Written 75 s, 50 s and 25 s ago.
	r.reboot(t, appliance.Boot{PowerCut: true})
	r.comeUp()
	if got := r.comment(t); got != "2" {
		t.Errorf("got %q, want what was written 50 s ago", got)
	}
	// What the first one lost must not come back with time.
	r.Advance(time.Hour)
	r.reboot(t, appliance.Boot{PowerCut: true})
	r.comeUp()
	if got := r.comment(t); got != "2" {
		t.Errorf("after a second power cut: got %q, want what the first one left", got)
	}
}

func TestAPowerCutLosesADiskButNotItsFile(t *testing.T) {
	r := newRig(t, func(o *sim.Options) { o.FlashDelay = 40 * time.Second })
	r.Inject(sim.Fault{Kind: sim.PowerCut, Statements: 1}, sim.Once())
	_, err := r.try(t.Context(), `/disk add type=file slot="x" file-path="/raid10/x.img" file-size=1M; :put 1`)
	if err == nil || r.Phase() != appliance.Down {
		t.Errorf("got %v and phase %v, want the line cut and the appliance down", err, r.Phase())
	}
	r.comeUp()
	if got := r.operate(t, `:put [:len [/disk find where slot="x"]]; :put [:len [/file find where name="raid10/x.img"]]`); got != "0\r\n1" {
		t.Errorf("disks and files: got %q, want the file alone", got)
	}
}

func TestARebootEndsByItselfIfItHasTimes(t *testing.T) {
	r := withDisk(t, func(o *sim.Options) { o.BootTimes = sim.BootTimes{Down: time.Millisecond, Starting: time.Millisecond} })
	for range 2 {
		r.reboot(t, appliance.Boot{})
		for r.Phase() != appliance.Up {
			runtime.Gosched()
		}
	}
	if got := r.comment(t); got != "0" {
		t.Errorf("got %q", got)
	}
}

func TestAdvanceMakesTheApplianceOlder(t *testing.T) {
	r := newRig(t)
	r.Advance(25 * time.Hour)
	if got := r.operate(t, `:put [/system resource get uptime]`); !strings.HasPrefix(got, "1d01:0") {
		t.Errorf("up for %s, want a day and an hour", got)
	}
}

func TestARebootOfAStoppedSimulatorReturns(t *testing.T) {
	r := newRig(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 3 {
		if err := r.Reboot(ctx, appliance.Boot{}); err != nil {
			t.Error(err)
		}
	}
}
