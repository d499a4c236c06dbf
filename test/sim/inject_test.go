package sim_test

import (
	"regexp"
	"strings"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim"
)

// struck runs lines and tells for each whether the fault struck it: "x" or ".".
func (r *rig) struck(t *testing.T, lines ...string) string {
	t.Helper()
	var pattern strings.Builder
	for _, line := range lines {
		out, err := r.try(t.Context(), line)
		switch {
		case err != nil:
			t.Fatalf("%s: %v", line, err)
		case strings.HasPrefix(out, "struck"):
			pattern.WriteString("x")
		default:
			pattern.WriteString(".")
		}
	}
	return pattern.String()
}

func TestWhenAFaultStrikes(t *testing.T) {
	tests := map[string]struct {
		when sim.When
		want string
	}{
		"always":                       {sim.When{}, "xxxxxx"},
		"once":                         {sim.Once(), "x....."},
		"twice":                        {sim.When{Times: 2}, "xx...."},
		"the third":                    {sim.When{Nth: 3, Times: 1}, "..x..."},
		"from the third":               {sim.When{Nth: 3}, "..xxxx"},
		"commands that match":          {sim.When{Command: regexp.MustCompile(`put "b`)}, ".x.x.x"},
		"the second command to match":  {sim.When{Command: regexp.MustCompile(`put "b`), Nth: 2, Times: 1}, "...x.."},
		"seldom":                       {sim.When{Probability: 1e-9, Seed: 1}, "......"},
		"nearly certainly":             {sim.When{Probability: 1 - 1e-9, Seed: 1}, "xxxxxx"},
		"nothing is about a disk here": {sim.When{Command: regexp.MustCompile(`/disk`)}, "......"},
	}
	r := newRig(t)
	for name, test := range tests {
		i := r.Inject(sim.Fault{Kind: sim.Garbage, Line: "struck"}, test.when)
		got := r.struck(t, `:put "a"`, `:put "b"`, `:put "a"`, `:put "b"`, `:put "a"`, `:put "b"`)
		if got != test.want || i.Strikes() != strings.Count(got, "x") {
			t.Errorf("%s: struck %s and counted %d, want %s", name, got, i.Strikes(), test.want)
		}
		i.Remove()
	}
}

func TestChanceIsRepeatable(t *testing.T) {
	r := newRig(t)
	line := strings.Split(strings.Repeat(`:put 1|`, 24), "|")[:24]
	patterns := map[string]bool{}
	for _, seed := range []uint64{1, 1, 2} {
		i := r.Inject(sim.Fault{Kind: sim.Garbage, Line: "struck"}, sim.When{Probability: 0.5, Seed: seed})
		patterns[r.struck(t, line...)] = true
		i.Remove()
	}
	if len(patterns) != 2 {
		t.Errorf("two seeds, one of them twice, gave %v, want two patterns", patterns)
	}
}

func TestAFaultWaitsForALineThatItIsAbout(t *testing.T) {
	r := withDisk(t)
	tests := map[sim.FaultKind]string{
		sim.HalfAdd:          `/disk/add type=file slot=y file-path=raid10/y.img file-size=1M`,
		sim.HalfRemoveExport: `/disk remove [find where slot="z"]`,
		sim.FileStays:        `/file remove [find where name="z"]`,
		sim.FileVanished:     `:put [:len [/disk find where slot="z"]]`,
		sim.DuplicateSlot:    `:put [:len [/disk find where slot="z"]]`,
	}
	for kind, about := range tests {
		i := r.Inject(sim.Fault{Kind: kind}, sim.Once())
		for _, line := range []string{`:put 1`, about} {
			if _, err := r.try(t.Context(), line); err != nil {
				t.Fatal(err)
			}
			if got, want := i.Strikes() == 1, line == about; got != want {
				t.Errorf("%s: %s was struck: %t, want %t", kind, line, got, want)
			}
		}
		i.Remove()
	}
}

func TestTheHookAndTheFirstInjectionHavePrecedence(t *testing.T) {
	r := newRig(t)
	r.Inject(sim.Fault{Kind: sim.Garbage, Line: "first"}, sim.Once())
	r.Inject(sim.Fault{Kind: sim.Garbage, Line: "second"}, sim.When{})
	r.SetFault(func(command string) sim.Fault {
		if command == `:put "hook"` {
			return sim.Fault{Kind: sim.Garbage, Line: "hook"}
		}
		return sim.Fault{}
	})
	for _, step := range []struct{ line, want string }{
		{`:put "hook"`, "hook\r\nhook\r\n"},
		{`:put 1`, "first\r\n1\r\n"},
		{`:put 1`, "second\r\n1\r\n"},
	} {
		if got, err := r.try(t.Context(), step.line); got != step.want || err != nil {
			t.Errorf("%s: got %q, %v, want %q", step.line, got, err, step.want)
		}
	}
	r.ClearFaults()
	if got, err := r.try(t.Context(), `:put "hook"`); got != "hook\r\n" || err != nil {
		t.Errorf("after ClearFaults: got %q, %v", got, err)
	}
}

func TestObserversAreToldOfTheFault(t *testing.T) {
	seen := make(chan sim.FaultKind, 2)
	r := newRig(t, func(o *sim.Options) { o.Observe = func(e sim.Execution) { seen <- e.Fault } })
	r.Inject(sim.Fault{Kind: sim.Garbage, Line: "struck"}, sim.Once())
	r.struck(t, `:put 1`, `:put 1`)
	if first, second := <-seen, <-seen; first != sim.Garbage || second != sim.NoFault {
		t.Errorf("got %q and %q, want garbage once", first, second)
	}
}
