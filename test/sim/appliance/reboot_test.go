package appliance_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/export"
)

func TestWhileDownNothingRuns(t *testing.T) {
	b := open(t, nil)
	b.run(t, add)
	if err := b.PowerOff(appliance.Boot{}); err != nil {
		t.Fatal(err)
	}
	if out, err := b.Exec(t.Context(), b.policies, `:put 1`, nil); out != "" || !errors.Is(err, appliance.ErrPowerOff) {
		t.Errorf("got %q, %v, want ErrPowerOff", out, err)
	}
	if err := b.DuplicateSlot("x"); !errors.Is(err, appliance.ErrPowerOff) {
		t.Errorf("an operator got %v, want ErrPowerOff", err)
	}
}

func TestALineDoesNotGoOnInTheNextBoot(t *testing.T) {
	b := open(t, nil)
	b.run(t, add)
	statements := 0
	hooks := &appliance.Hooks{BeforeStatement: func() error {
		if statements++; statements == 2 {
			if err := b.PowerOff(appliance.Boot{}); err != nil {
				return err
			}
			b.NextPhase()
			b.NextPhase()
		}
		return nil
	}}
	out, err := b.Exec(t.Context(), b.policies, `:onerror e in={ :put 1; /disk set x comment="2" } do={ :put "caught" }`, hooks)
	if out != "1\r\n" || !errors.Is(err, appliance.ErrPowerOff) {
		t.Errorf("got %q, %v, want it to end where it was", out, err)
	}
	b.want(t, `:put [:len [/disk find where comment="2"]]`, "0\r\n")
}

func TestUnmountedPoolsTakeNoExports(t *testing.T) {
	b := open(t, nil)
	b.run(t, add)
	cure := b.Afflict(appliance.PoolUnmounted)
	b.want(t, exportX, "")
	if _, err := b.exports.Connect("nqn:x", "host"); !errors.Is(err, export.ErrDown) {
		t.Errorf("unmounted: got %v, want ErrDown", err)
	}
	cure()
	cure() // once is enough
	if _, err := b.exports.Connect("nqn:x", "host"); err != nil {
		t.Errorf("mounted again: %v", err)
	}
}

func TestAfflictionsAddUp(t *testing.T) {
	b := open(t, nil)
	first, second := b.Afflict(appliance.PoolFull), b.Afflict(appliance.PoolFull)
	first()
	b.want(t, `:put [/disk get raid10 free]`, "0\r\n")
	second()
	b.want(t, `:put [/disk get raid10 free]`, "10737418240\r\n")
}

func TestAnUnmountedPoolMayKeepItsMountPoint(t *testing.T) {
	for keeps, want := range map[bool]string{false: "0\r\n", true: "1\r\n"} {
		b := open(t, func(o *appliance.Options) { o.Unknowns.UnmountedKeepsMountPoint = keeps })
		b.Afflict(appliance.PoolUnmounted)
		b.want(t, `:put [:len [/disk find where mount-point="raid10"]]`, want)
		b.want(t, `:put [:len [/disk find where mounted=no slot="raid10"]]`, "1\r\n")
	}
}

func TestAFullPoolRefusesGrowth(t *testing.T) {
	b := open(t, nil)
	b.run(t, add)
	b.Afflict(appliance.PoolFull)
	b.want(t, `/disk set x file-size=2G`, "failure: not enough disk space (/disk/set; line 1)\r\n")
	b.want(t, `/disk set x comment="still possible"`, "")
}

func TestARestartFlushesTheConfiguration(t *testing.T) {
	var options appliance.Options
	change := func(o *appliance.Options) { o.FlashDelay = time.Minute; options = *o }
	b := open(t, change)
	b.run(t, add)
	// Another process over the same directory finds everything, and a power
	// cut doesn't lose it there.
	next, err := appliance.Open(options)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = next.Close() }()
	if err := next.PowerOff(appliance.Boot{PowerCut: true}); err != nil {
		t.Fatal(err)
	}
	if got := next.Disks(); len(got) != 1 {
		t.Errorf("got disks %v, want x", got)
	}
}

func TestIDsAreNotUsedAgainAfterAPowerCut(t *testing.T) {
	b := open(t, func(o *appliance.Options) { o.FlashDelay = time.Minute })
	b.want(t, `:put [`+add+`]`, "*2\r\n")
	if err := b.PowerOff(appliance.Boot{PowerCut: true}); err != nil {
		t.Fatal(err)
	}
	b.NextPhase()
	b.NextPhase()
	b.want(t, `/file remove "raid10/x.img"; :put [`+add+`]`, "*3\r\n")
}

func TestATargetMayListenBeforeItsExportsAreBack(t *testing.T) {
	for early, want := range map[bool]error{false: export.ErrDown, true: export.ErrRefused} {
		b := open(t, func(o *appliance.Options) { o.Unknowns.ListensEarly = early })
		b.run(t, add)
		b.run(t, exportX)
		if err := b.PowerOff(appliance.Boot{}); err != nil {
			t.Fatal(err)
		}
		b.NextPhase()
		if _, err := b.exports.Connect("nqn:x", "host"); !errors.Is(err, want) {
			t.Errorf("while starting, early=%t: got %v, want %v", early, err, want)
		}
		b.NextPhase()
		if _, err := b.exports.Connect("nqn:x", "host"); err != nil {
			t.Errorf("up, early=%t: %v", early, err)
		}
	}
}

// listener is a kernel that notes in which order it comes back.
type listener struct{ steps []string }

func (l *listener) Publish(export.Subsystem)  { l.steps = append(l.steps, "publish") }
func (l *listener) Update(export.Subsystem)   {}
func (l *listener) Withdraw(export.Subsystem) {}
func (l *listener) Lose()                     { l.steps = nil }
func (l *listener) Restore()                  { l.steps = append(l.steps, "listen") }

// A kernel that reaches a target before its exports are back is refused, and may give its device up.
func TestExportsAreBackBeforeTheTargetAnswers(t *testing.T) {
	for _, early := range []bool{false, true} {
		kernel := &listener{}
		b := open(t, func(o *appliance.Options) {
			o.Unknowns.ListensEarly = early
			o.Exports = export.New(export.Options{Kernel: kernel})
		})
		b.run(t, add)
		b.run(t, exportX)
		if err := b.PowerOff(appliance.Boot{}); err != nil {
			t.Fatal(err)
		}
		b.NextPhase()
		b.NextPhase()
		if got := slices.Index(kernel.steps, "listen") < slices.Index(kernel.steps, "publish"); got != early {
			t.Errorf("listens early %t: the target came back as %q", early, kernel.steps)
		}
	}
}
