package faults

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim"
)

// tries is how often a caller repeats an operation that failed. Sidecars never stop; a fault that is over can't take more.
const tries = 8

// patience is a caller's deadline where nothing else ends a command. Whatever takes longer is just tried again.
const patience = 1500 * time.Millisecond

// writing matches the commands that change something.
const writing = `/(disk|file) (add|set|remove)`

func TestFaultMatrix(t *testing.T) {
	var cases, idle atomic.Int64
	struck := map[string]*atomic.Bool{}
	for _, fault := range sim.Faults() {
		struck[fault.Name] = &atomic.Bool{}
	}
	t.Run("matrix", func(t *testing.T) {
		for _, mutation := range mutations() {
			for _, fault := range sim.Faults() {
				for _, times := range []int{1, 2} {
					for place, command := range map[string]*regexp.Regexp{"first": nil, "first write": regexp.MustCompile(writing)} {
						t.Run(fmt.Sprintf("%s/%s/%d/%s", mutation.name, fault.Name, times, place), func(t *testing.T) {
							t.Parallel()
							cases.Add(1)
							if !runCase(t, mutation, fault, sim.When{Times: times, Command: command}) {
								idle.Add(1)
								return
							}
							struck[fault.Name].Store(true)
						})
					}
				}
			}
		}
	})
	fmt.Printf("fault matrix: %d cases, in %d of them the fault found its occasion\n", cases.Load(), cases.Load()-idle.Load())
	for name, once := range struck {
		if !once.Load() {
			t.Errorf("the fault %q never struck, so nothing is known of it", name)
		}
	}
}

// runCase reports whether the fault struck at all.
func runCase(t *testing.T, m mutation, fault sim.NamedFault, when sim.When) bool {
	t.Helper()
	w := newWorld(t, fault)
	if err := m.before(t.Context(), w); err != nil {
		t.Fatalf("prepare: %v", err)
	}
	if m.restarted {
		w.restart(t)
	}
	w.sim.Advance(time.Hour)
	injection := w.sim.Inject(fault.Fault, when)
	err := w.retry(t, m, fault)
	w.sim.ClearFaults()
	w.recover()
	if injection.Strikes() == 0 {
		return false
	}
	now := w.look(t)
	if wrong := w.sane(now, exempt(fault.Fault.Kind)); wrong != nil {
		t.Errorf("%v\nthe operation returned: %v\nthe appliance has: %+v, file %t", wrong, err, now.disks, now.file)
	}
	if err == nil && !m.wanted(now) && !undoes(fault, m) {
		t.Errorf("the operation succeeded, but the appliance has: %+v, file %t", now.disks, now.file)
	}
	if err != nil && !excused(fault.Fault.Kind) {
		t.Errorf("given up after %d tries, though the fault is over: %v", tries, err)
	}
	return true
}

// retry calls the operation as its caller would: again after an error, with the appliance back up in between.
func (w *world) retry(t *testing.T, m mutation, fault sim.NamedFault) error {
	t.Helper()
	var err error
	for range tries {
		bounded, cancel := t.Context(), context.CancelFunc(func() {})
		if fault.Silent {
			bounded, cancel = context.WithTimeout(bounded, patience)
		}
		err = m.act(bounded, w)
		cancel()
		if err == nil {
			return nil
		}
		if strings.HasPrefix(m.name, "create") && final(err) && len(w.sim.Disks()) > 0 && fault.Fault.Kind != sim.DuplicateSlot {
			t.Errorf("it failed for good, so that nobody asks again, and the disk is there: %v", err)
		}
		w.recover()
	}
	return err
}

// final tells whether a caller takes the error for the last word. After all others it asks again.
func final(err error) bool {
	changed := (*rds.ChangedError)(nil)
	return !errors.As(err, &changed) && !slices.ContainsFunc([]error{
		rds.ErrUnknownOutcome, rds.ErrUnreachable, rds.ErrNotReady, context.Canceled, context.DeadlineExceeded,
	}, func(passing error) bool { return errors.Is(err, passing) })
}

// exempt lists the rules that the fault itself breaks.
func exempt(kind sim.FaultKind) []string {
	switch kind {
	case sim.DuplicateSlot:
		return []string{oneDisk, recordKept, noLostFile}
	case sim.FileVanished:
		return []string{noLostFile}
	default:
		return nil
	}
}

// undoes tells whether the fault may undo what was done, after the operation saw it done.
func undoes(fault sim.NamedFault, m mutation) bool {
	switch fault.Fault.Kind {
	case sim.PowerCut:
		return true
	case sim.Restart:
		return fault.Fault.Boot.ExportsOff && !m.exports
	case sim.Interleave:
		return strings.HasPrefix(fault.Name, "operator") && (!m.exports || fault.Fault.Statements == sim.WholeLine)
	default:
		return false
	}
}

// excused tells whether the fault leaves something that only an operator can mend; the error must say what.
func excused(kind sim.FaultKind) bool { return kind == sim.DuplicateSlot || kind == sim.FileVanished }
