package sim

import (
	"math/rand/v2"
	"regexp"
	"slices"
	"sync"
)

// When selects the occasions on which a fault strikes. The zero value selects
// every one.
type When struct {
	// Command, for faults of an exec, selects the lines it matches.
	Command *regexp.Regexp `json:"command,omitempty"`
	// Nth is the first of the selected occasions to strike; 1 if zero.
	Nth int `json:"nth,omitempty"`
	// Times bounds how often it strikes; without end if zero.
	Times int `json:"times,omitempty"`
	// Probability of striking at one of the occasions left, in (0, 1];
	// 1 if zero. Seed makes the choice repeatable.
	Probability float64 `json:"probability,omitempty"`
	Seed        uint64  `json:"seed,omitempty"`
}

// Once strikes the first occasion.
func Once() When { return When{Times: 1} }

// Injection is a fault that waits for its occasions. It is safe for concurrent
// use.
type Injection struct {
	fault Fault
	when  When
	plan  *plan

	// Under plan.mu.
	random            *rand.Rand
	occasions, struck int
	cures             []func()
}

// Strikes is how often the fault has struck. A test that expects a fault has
// to check that it did.
func (i *Injection) Strikes() int {
	i.plan.mu.Lock()
	defer i.plan.mu.Unlock()
	return i.struck
}

// Remove takes the fault away; what it did to disks and files stays.
func (i *Injection) Remove() { i.plan.remove(func(other *Injection) bool { return other == i }) }

// lasting reports whether what the fault did once is still so.
func (i *Injection) lasting() bool {
	i.plan.mu.Lock()
	defer i.plan.mu.Unlock()
	return len(i.cures) > 0
}

// wants reports whether the fault strikes now, and counts. plan.mu is held.
func (i *Injection) wants(command string) bool {
	if i.when.Command != nil && i.fault.Kind.Occasion() == OnExec && !i.when.Command.MatchString(command) {
		return false
	}
	if !i.fault.applies(command) {
		return false
	}
	i.occasions++
	switch {
	case i.occasions < i.when.Nth, i.when.Times > 0 && i.struck >= i.when.Times:
		return false
	case i.when.Probability > 0 && i.random.Float64() >= i.when.Probability:
		return false
	}
	i.struck++
	return true
}

// applies reports whether the line has in it what the fault is about.
func (f Fault) applies(command string) bool {
	switch f.Kind {
	case HalfAdd:
		return contains(command, "disk", "add")
	case HalfRemoveExport, HalfRemoveItem:
		return contains(command, "disk", "remove")
	case FileStays:
		return contains(command, "file", "remove")
	case FileVanished, DuplicateSlot:
		return subjectOf(command).slot != ""
	case Interleave:
		return subjectOf(command).fill(f.Lines)
	default:
		return true
	}
}

// plan holds the injections, oldest first.
type plan struct {
	mu         sync.Mutex
	injections []*Injection
}

// add puts an injection behind the others.
func (p *plan) add(fault Fault, when When) *Injection {
	i := &Injection{
		fault: fault, when: when, plan: p,
		random: rand.New(rand.NewPCG(when.Seed, 0)), //nolint:gosec // repeatable on purpose
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.injections = append(p.injections, i)
	return i
}

// strike picks the first injection that wants an occasion; nil if none does.
func (p *plan) strike(occasion Occasion, command string) *Injection {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, i := range p.injections {
		if i.fault.Kind.Occasion() == occasion && i.wants(command) {
			return i
		}
	}
	return nil
}

// keep has a cure wait for the injection to be removed, if it is to stay: one
// that strikes without end leaves the appliance as it is between two lines.
// Otherwise, or if the injection is gone already, the cure is due now.
func (p *plan) keep(i *Injection, cure func()) (due bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i.when.Times > 0 || !slices.Contains(p.injections, i) {
		return true
	}
	i.cures = append(i.cures, cure)
	return false
}

// list describes the injections.
func (p *plan) list() []faultStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	listed := make([]faultStatus, 0, len(p.injections))
	for _, i := range p.injections {
		listed = append(listed, faultStatus{Kind: i.fault.Kind, When: i.when, Strikes: i.struck})
	}
	return listed
}

func (p *plan) remove(unwanted func(*Injection) bool) {
	p.mu.Lock()
	var cures []func()
	p.injections = slices.DeleteFunc(p.injections, func(i *Injection) bool {
		if !unwanted(i) {
			return false
		}
		cures = append(cures, i.cures...)
		i.cures = nil
		return true
	})
	p.mu.Unlock()
	for _, cure := range cures {
		cure()
	}
}

// Inject has a fault wait for its occasions. Of several, the one injected
// first strikes. One that strikes connections cuts those there are, so that
// it finds its occasion.
func (s *Sim) Inject(fault Fault, when When) *Injection {
	i := s.faults.add(fault, when)
	if fault.Kind.Occasion() == OnConnection {
		s.DropConnections()
	}
	return i
}

// ClearFaults takes every injection away, and the hook of SetFault.
func (s *Sim) ClearFaults() {
	s.SetFault(nil)
	s.faults.remove(func(*Injection) bool { return true })
}
