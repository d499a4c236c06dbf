package sim

import (
	"context"
	"errors"

	"k8s.io/klog/v2"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/sshd"
)

// errDropped aborts a line whose connection is to be cut.
var errDropped = errors.New("connection dropped by a fault")

// line is one exec with the fault that strikes it, if any.
type line struct {
	sim           *Sim
	user, command string
	fault         Fault
	injection     *Injection // nil if the fault came from the hook
}

// strike finds the fault for a line.
func (s *Sim) strike(user, command string) line {
	l := line{sim: s, user: user, command: command}
	if l.fault = s.hooked(command); l.fault.Kind != NoFault {
		return l
	}
	if l.injection = s.faults.strike(OnExec, command); l.injection != nil {
		l.fault = l.injection.fault
	}
	return l
}

// answer carries the line out.
func (l line) answer(ctx context.Context) sshd.Reply {
	if l.fault.Kind == AppliedLater {
		l.sim.stall(l)
	}
	if l.fault.prevents() {
		return l.fault.reply("")
	}
	cure, err := l.prepare()
	if err != nil {
		klog.FromContext(ctx).Error(err, "The simulator itself failed", "fault", l.fault.Kind)
	}
	output, err := l.run(ctx)
	cure()
	if errors.Is(err, appliance.ErrPowerOff) {
		return sshd.Reply{Ending: sshd.EndDrop}
	}
	l.sim.catchUp(ctx)
	return l.fault.reply(output)
}

// prepare does to the appliance what the line is to find. cure takes back what
// is to last for this line only; it is never nil.
func (l line) prepare() (cure func(), err error) {
	nothing := func() {}
	if condition, is := l.fault.condition(); is {
		return l.afflict(condition), nil
	}
	switch about := subjectOf(l.command); l.fault.Kind {
	case FileVanished:
		return nothing, l.sim.appliance.LoseFile(about.slot)
	case DuplicateSlot:
		return nothing, l.sim.appliance.DuplicateSlot(about.slot)
	default:
		return nothing, nil
	}
}

// afflict puts the pools into a condition.
func (l line) afflict(condition appliance.Condition) (cure func()) {
	if l.injection != nil && l.injection.lasting() {
		return func() {}
	}
	cure = l.sim.appliance.Afflict(condition)
	if l.injection != nil && !l.sim.faults.keep(l.injection, cure) {
		return func() {}
	}
	return cure
}

// run executes the line up to where its fault wants it.
func (l line) run(ctx context.Context) (string, error) {
	hooks := &appliance.Hooks{Mishap: l.fault.mishap()}
	act := l.between(ctx)
	if act == nil {
		return l.sim.run(ctx, l.policies(), l.command, hooks)
	}
	left := l.fault.Statements
	hooks.BeforeStatement = func() error {
		left--
		if left == -1 {
			return act()
		}
		return nil
	}
	output, err := l.sim.run(ctx, l.policies(), l.command, hooks)
	if err == nil && left >= 0 {
		err = act()
	}
	return output, err
}

// between is what happens between two statements; nil if nothing does. Its
// error aborts the line.
func (l line) between(ctx context.Context) func() error {
	switch l.fault.Kind {
	case DropAfter:
		return func() error { return errDropped }
	case PowerCut, Restart:
		return func() error {
			boot := l.fault.Boot
			boot.PowerCut = l.fault.Kind == PowerCut
			return l.sim.powerOff(ctx, boot)
		}
	case Interleave:
		return func() error { return l.interleave(ctx) }
	default:
		return nil
	}
}

// interleave has somebody else act.
func (l line) interleave(ctx context.Context) error {
	about := subjectOf(l.command)
	for _, other := range l.fault.Lines {
		if _, err := l.sim.run(ctx, appliance.AllPolicies(), about.expand(other), nil); err != nil {
			return err
		}
	}
	if l.fault.Act != nil {
		l.fault.Act(l.command)
	}
	return nil
}

func (l line) policies() appliance.Policies { return l.fault.restrict(l.sim.policies(l.user)) }

// stall keeps a line for later.
func (s *Sim) stall(l line) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l.fault = Fault{}
	s.stalled = append(s.stalled, l)
}

// catchUp applies the lines that were stuck.
func (s *Sim) catchUp(ctx context.Context) {
	s.mu.Lock()
	stalled := s.stalled
	s.stalled = nil
	s.mu.Unlock()
	for _, l := range stalled {
		// Nobody listens any more to what it prints or why it ended.
		_, _ = l.run(ctx)
	}
}
