package attach

import (
	"fmt"
	"slices"
	"sort"
	"sync"
	"time"
)

// beginAfter is the pause that a valve reports before Begin. The caller of Begin has everything that waits checked at
// once, so nothing waits for that long.
const beginAfter = 30 * time.Second

// ValveConfig configures a Valve. It trips if both Nodes and Share are reached within the window.
type ValveConfig struct {
	// Nodes is the minimum number of vanished nodes; 0 switches the valve off.
	Nodes int
	// Share is their minimum share of all nodes, vanished ones included: more than 0, at most 1.
	Share float64
	// Window is how long a vanished node counts; more than 0.
	Window time.Duration
	// Now is the clock; nil stands for time.Now.
	Now func() time.Time
}

// ValveObserver is called when a valve trips and when it opens again, in turns. Its functions must be set, must not
// block, and must not call the valve.
type ValveObserver struct {
	Tripped func(Pause)
	Opened  func()
}

// Pause says why clearing and take-over are paused, and until when.
type Pause struct {
	// Vanished is the number of nodes that vanished within Window, and Present the number of nodes that exist.
	Vanished, Present int
	Window            time.Duration
	// Until is when the pause ends if no more nodes vanish.
	Until time.Time
	// Last is the node that vanished last.
	Last string
}

// Note returns the event that reports the pause.
func (p Pause) Note() Note {
	return Note{
		Reason: ClearingHeld, Warning: true, Node: p.Last,
		Message: fmt.Sprintf("%d nodes vanished within %s, %d are left. This may be a mistake, so clearing of attachments and take-over of volumes are paused until %s. Nodes that come back don't count. If the nodes were deleted on purpose, just wait; see --mass-deletion-nodes, -share and -window.",
			p.Vanished, p.Window, p.Present, p.Until.UTC().Format(time.RFC3339)),
	}
}

// Valve pauses clearing and take-over while so many nodes vanished at once that it may be a mistake: a restored backup,
// a broken autoscaler, the wrong context. It only delays and alerts, and doesn't stop Kubernetes' own controllers.
//
// Informers call Appeared and Vanished. The valve has no goroutine: it reads the clock whenever a method is called. It
// is safe for concurrent use.
type Valve struct {
	config   ValveConfig
	observer ValveObserver

	mu sync.Mutex
	// now is the latest time that the clock has shown. It never goes back, so a bad clock can only prolong a pause.
	now     time.Time
	begun   bool
	tripped bool
	present map[string]struct{}
	// vanished are the nodes that count, in the order in which they vanished.
	vanished []vanishing
}

type vanishing struct {
	node string
	at   time.Time
}

// NewValve returns a valve that is paused until Begin, or an error if the configuration is invalid.
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

// Appeared is called for every node that exists: when it is created, and once for each that existed from the start.
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

// Begin is called after Appeared was called for every node that exists. named are the nodes that attachments or records
// name. Those that don't exist count as vanished now, since it isn't known when they vanished. Until Begin is called,
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

// count adds a node to the vanished ones, unless it counts already. judge must have updated now before.
func (v *Valve) count(node string) {
	delete(v.present, node)
	if !slices.ContainsFunc(v.vanished, func(gone vanishing) bool { return gone.node == node }) {
		v.vanished = append(v.vanished, vanishing{node: node, at: v.now})
	}
}

// judge updates now, drops the nodes that vanished too long ago, and calls the observer if the valve trips or opens.
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

// tooMany reports whether count vanished nodes trip the valve. It compares the quotient and not a product, so that 7 of
// 100 reach a share of 0.07.
func (v *Valve) tooMany(count int) bool {
	return count >= v.config.Nodes && float64(count)/float64(len(v.present)+count) >= v.config.Share
}

// until returns when the valve opens if no node appears or vanishes: when fewer nodes count than trip it.
func (v *Valve) until() time.Time {
	fewest := sort.Search(len(v.vanished), v.tooMany)
	return v.vanished[len(v.vanished)-fewest].at.Add(v.config.Window)
}
