package attach

import (
	"fmt"
	"slices"
	"sort"
	"sync"
	"time"
)

// beginAfter is when to ask a valve again that doesn't know the nodes yet. The caller of Begin has everything that waits
// looked at again at once.
const beginAfter = 30 * time.Second

// ValveConfig is when a Valve trips.
type ValveConfig struct {
	// Nodes is how many nodes have to vanish within the window at least; 0 switches the valve off.
	Nodes int
	// Share is which part of all nodes they have to be, those that vanished included: more than 0, at most 1.
	Share float64
	// Window is how long a node that vanished counts; more than 0.
	Window time.Duration
	// Now is the clock; nil stands for time.Now.
	Now func() time.Time
}

// ValveObserver is called when a valve trips and when it opens again, in this order and each once. Its functions must be
// set, must not block, and must not call the valve.
type ValveObserver struct {
	Tripped func(Pause)
	Opened  func()
}

// Pause says why clearing and take-over are paused, and until when.
type Pause struct {
	// Vanished nodes are gone since less than Window, Present ones are there.
	Vanished, Present int
	Window            time.Duration
	// Until is when enough of them will have been gone for long enough, if no more nodes vanish.
	Until time.Time
	// Last is the node that vanished last.
	Last string
}

// Note returns the event that tells people of the pause.
func (p Pause) Note() Note {
	return Note{
		Reason: ClearingHeld, Warning: true, Node: p.Last,
		Message: fmt.Sprintf("%d nodes vanished within %s, %d are left: this may be a mistake, so no attachment is cleared and no volume is taken over from them until %s. Nodes that come back don't count. If they were meant to go, there is nothing to do but wait; see --mass-deletion-nodes, -share and -window.",
			p.Vanished, p.Window, p.Present, p.Until.UTC().Format(time.RFC3339)),
	}
}

// Valve pauses clearing and take-over while so many nodes vanished at once that it looks like a mistake: a restored backup,
// a broken autoscaler, the wrong context. It delays and alerts; it doesn't stop Kubernetes' own controllers.
//
// Informers call Appeared and Vanished. The valve has no goroutine: it looks at the clock when one of its methods is called.
// It is safe for concurrent use.
type Valve struct {
	config   ValveConfig
	observer ValveObserver

	mu sync.Mutex
	// now never goes back, whatever the clock does: the worst that a bad clock can do is a longer pause.
	now     time.Time
	begun   bool
	tripped bool
	present map[string]struct{}
	// vanished are the nodes that count, the oldest first.
	vanished []vanishing
}

type vanishing struct {
	node string
	at   time.Time
}

// NewValve checks the configuration.
func NewValve(config ValveConfig, observer ValveObserver) (*Valve, error) {
	switch {
	case config.Nodes < 0:
		return nil, fmt.Errorf("mass deletion nodes %d: want 0, which switches the valve off, or more", config.Nodes)
	case !(config.Share > 0 && config.Share <= 1):
		return nil, fmt.Errorf("mass deletion share %g: want more than 0 and at most 1", config.Share)
	case config.Window <= 0:
		return nil, fmt.Errorf("mass deletion window %s: want more than 0", config.Window)
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	return &Valve{config: config, observer: observer, present: map[string]struct{}{}}, nil
}

// Appeared is called for a node that exists: it is new, it came back, or it was there from the start.
func (v *Valve) Appeared(node string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.present[node] = struct{}{}
	v.vanished = slices.DeleteFunc(v.vanished, func(gone vanishing) bool { return gone.node == node })
	v.judge()
}

// Vanished is called for a node that doesn't exist any more.
func (v *Valve) Vanished(node string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.judge()
	v.count(node)
	v.judge()
}

// Begin is called once every node that exists has appeared. named are the nodes that attachments or records name: those
// that don't exist count as vanished now, since nobody knows for how long they have been gone. Until Begin is called,
// everything is paused.
func (v *Valve) Begin(named []string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.begun = true
	v.judge()
	for _, node := range named {
		if _, exists := v.present[node]; !exists {
			v.count(node)
		}
	}
	v.judge()
}

// Paused reports whether nothing may be cleared or taken over now.
func (v *Valve) Paused() bool { return v.PausedFor() > 0 }

// PausedFor returns how long clearing and take-over stay paused if no more nodes vanish; 0 if they aren't.
func (v *Valve) PausedFor() time.Duration {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.judge()
	switch {
	case v.tripped:
		return v.until().Sub(v.now)
	case !v.begun && v.config.Nodes > 0:
		return beginAfter
	default:
		return 0
	}
}

// count adds a node to those that vanished, once, after judge has brought the clock up to date.
func (v *Valve) count(node string) {
	delete(v.present, node)
	if !slices.ContainsFunc(v.vanished, func(gone vanishing) bool { return gone.node == node }) {
		v.vanished = append(v.vanished, vanishing{node: node, at: v.now})
	}
}

// judge drops what is too old to count, and calls the observer if that or anything before it changed the state.
func (v *Valve) judge() {
	if now := v.config.Now(); now.After(v.now) {
		v.now = now
	}
	v.vanished = slices.DeleteFunc(v.vanished, func(gone vanishing) bool { return v.now.Sub(gone.at) >= v.config.Window })
	trips := v.begun && v.config.Nodes > 0 && v.tooMany(len(v.vanished))
	if trips == v.tripped {
		return
	}
	v.tripped = trips
	if !trips {
		v.observer.Opened()
		return
	}
	v.observer.Tripped(Pause{
		Vanished: len(v.vanished), Present: len(v.present), Window: v.config.Window,
		Until: v.until(), Last: v.vanished[len(v.vanished)-1].node,
	})
}

// tooMany reports whether that many vanished nodes trip the valve. The quotient is compared, not a product, so that a share
// of 0.07 is met by 7 of 100.
func (v *Valve) tooMany(count int) bool {
	return count >= v.config.Nodes && float64(count)/float64(len(v.present)+count) >= v.config.Share
}

// until returns when the valve opens if nothing but time passes: when one node less than the fewest that trip it are left.
func (v *Valve) until() time.Time {
	fewest := sort.Search(len(v.vanished), v.tooMany)
	return v.vanished[len(v.vanished)-fewest].at.Add(v.config.Window)
}
