package sim

import (
	"context"
	"fmt"
	"time"

	"k8s.io/klog/v2"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
)

// BootTimes are how long the phases of a boot last. A phase of no length lasts
// until [Sim.NextPhase], so that a test is in control of it.
type BootTimes struct {
	// Down is how long connections are reset; Starting how long SSH answers
	// before the pools are mounted.
	Down, Starting time.Duration
}

// Reboot restarts the appliance: SSH connections and initiators' streams break
// at once, lines that run end where they are. It comes back in two phases, see
// [appliance.Phase], by Options.BootTimes or by NextPhase. Files stay as they
// are; the configuration does unless boot.PowerCut says otherwise.
func (s *Sim) Reboot(ctx context.Context, boot appliance.Boot) error {
	err := s.appliance.PowerOff(boot)
	s.DropConnections()
	select {
	case s.rebooted <- struct{}{}:
	case <-s.stopped:
	case <-ctx.Done():
	}
	if err != nil {
		return fmt.Errorf("reboot: %w", err)
	}
	return nil
}

// powerOff is a reboot in the middle of a line, which it ends.
func (s *Sim) powerOff(ctx context.Context, boot appliance.Boot) error {
	if err := s.Reboot(ctx, boot); err != nil {
		return err
	}
	return appliance.ErrPowerOff
}

// Phase is how far the appliance has come up.
func (s *Sim) Phase() appliance.Phase { return s.appliance.Phase() }

// NextPhase goes from Down to Starting and from Starting to Up, and returns
// where it came to.
func (s *Sim) NextPhase() appliance.Phase { return s.appliance.NextPhase() }

// Advance pretends that time went by for the appliance: its uptime grows, and
// what was written may have reached flash. Phases don't end by it.
func (s *Sim) Advance(by time.Duration) { s.appliance.Advance(by) }

// comeBack ends the phases of each reboot when their time is over.
func (s *Sim) comeBack(ctx context.Context) error {
	var due <-chan time.Time
	for {
		select {
		case <-s.rebooted:
		case <-due:
			s.NextPhase()
		case <-ctx.Done():
			return nil
		}
		due = nil
		phase := s.Phase()
		lasts := s.options.BootTimes.of(phase)
		if lasts > 0 {
			due = time.After(lasts)
		}
		if s.options.BootTimes != (BootTimes{}) {
			klog.FromContext(ctx).Info("Appliance phase", "phase", phase, "lasts", lasts)
		}
	}
}

// of is how long a phase lasts; 0 if it doesn't end by itself.
func (b BootTimes) of(phase appliance.Phase) time.Duration {
	switch phase {
	case appliance.Down:
		return b.Down
	case appliance.Starting:
		return b.Starting
	default:
		return 0
	}
}
