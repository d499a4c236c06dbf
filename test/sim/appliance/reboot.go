package appliance

import (
	"errors"
	"time"
)

// Phase is how far the appliance has come up.
type Phase int

// The phases of a boot, in their order.
const (
	// Up serves everything.
	Up Phase = iota
	// Down runs nothing: lines that are running end with ErrPowerOff.
	Down
	// Starting runs lines, but no pool is mounted and nothing exported.
	Starting
)

// String names the phase.
func (p Phase) String() string {
	switch p {
	case Down:
		return "down"
	case Starting:
		return "starting"
	default:
		return "up"
	}
}

// Boot says what a reboot does besides going through its phases.
type Boot struct {
	// PowerCut loses the configuration written within Options.FlashDelay.
	PowerCut bool `json:"-"`
	// EmptyListings makes /disk and /file list nothing at all while starting.
	EmptyListings bool `json:"emptyListings"`
	// ExportsOff brings every disk back with nvme-tcp-export=no.
	ExportsOff bool `json:"exportsOff"`
}

// PowerOff takes the appliance down. Lines that run end, initiators lose their
// connections without a word.
func (a *Appliance) PowerOff(boot Boot) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	was := a.mounted()
	a.phase, a.emptyListings = Down, boot.EmptyListings
	a.boot++
	a.remounted(was)
	var err error
	if boot.PowerCut {
		err = a.revert()
	}
	if boot.ExportsOff {
		for _, d := range a.disks {
			d.Export = false
		}
		err = errors.Join(err, a.save())
	}
	return err
}

// NextPhase goes from Down to Starting, where uptime begins anew, and from
// Starting to Up. It returns the phase it came to.
func (a *Appliance) NextPhase() Phase {
	a.mu.Lock()
	defer a.mu.Unlock()
	was := a.mounted()
	switch a.phase {
	case Down:
		a.phase, a.booted = Starting, time.Now()
		if a.options.Unknowns.ListensEarly {
			a.exports.Restore()
		}
	case Starting:
		a.phase = Up
	case Up:
	}
	a.remounted(was)
	return a.phase
}

// Phase is how far the appliance has come up.
func (a *Appliance) Phase() Phase {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.phase
}

// Advance pretends that time went by: the appliance has been up for longer,
// and what was written is older. It leaves the phase alone.
func (a *Appliance) Advance(by time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.booted = a.booted.Add(-by)
	for i := range a.flash {
		a.flash[i].written = a.flash[i].written.Add(-by)
	}
}

// silent reports whether menus list nothing.
func (a *Appliance) silent() bool { return a.phase == Starting && a.emptyListings }
