package fence

import (
	"context"
	"sync"
	"testing"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/test/guest/world"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
)

// variant is what node A, or the appliance, is doing around the take-over.
type variant struct {
	name string
	// before is called when the take-over is about to be asked for, and what it returns right after the take-over.
	before func(*testing.T, *siege) (then func())
	// after is called once the new holder uses the volume.
	after func(*testing.T, *siege)
}

func variants() []variant {
	still := func(*testing.T, *siege) func() { return func() {} }
	quiet := func(*testing.T, *siege) {}
	return []variant{
		{"A is not told", still, quiet},
		{"A stands still and wakes up", standStill, quiet},
		{"A is reconnecting", reconnect, quiet},
		{"the target was away", restart, quiet},
		{"A connects again and again", connectAgain, quiet},
		{"the appliance reboots afterwards", connectAgain, reboot},
	}
}

// standStill stops A's programs until the take-over is over.
func standStill(_ *testing.T, s *siege) func() {
	s.writers.gate.Lock()
	return s.writers.gate.Unlock
}

// reconnect has A's kernel make its connection anew.
func reconnect(_ *testing.T, s *siege) func() {
	var done sync.WaitGroup
	done.Go(func() { world.Reset(s.controller) })
	return done.Wait
}

// restart takes the appliance down and up: A's kernel tries to come back while the take-over is asked for.
func restart(t *testing.T, s *siege) func() {
	t.Helper()
	reboot(t, s)
	return func() {}
}

// connectAgain connects under the old NQN until the siege is over, as another program than the kernel.
func connectAgain(t *testing.T, s *siege) func() {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		for ctx.Err() == nil {
			_, _ = world.Connect(s.nqn, s.host, "reconnect_delay=1", "ctrl_loss_tmo=-1")
			s.connects.Add(1)
			<-time.After(5 * time.Millisecond)
		}
	})
	s.atEnd = func() {
		cancel()
		done.Wait()
	}
	return func() {}
}

func reboot(t *testing.T, s *siege) {
	t.Helper()
	if err := s.w.Sim.Reboot(t.Context(), appliance.Boot{}); err != nil {
		t.Error(err)
	}
	for s.w.Sim.Phase() != appliance.Up {
		<-time.After(300 * time.Millisecond) // A finds the port closed
		s.w.Sim.NextPhase()
	}
	s.w.Sim.Advance(time.Hour) // past the boot window
}
