package attach

import (
	"fmt"
	"slices"
	"sort"
	"sync"
	"time"
)

// beginAfter is when to ask again a valve that doesn't know the nodes yet. Whoever lets it begin has those who wait come
// back at once.
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

// ValveObserver is told when a valve trips and when it opens again, in this order and each once. Its functions must be
// set, must not block, and must not call the valve.
type ValveObserver struct {
	Tripped func(Hold)
	Opened  func()
}

// Hold is why and until when a valve holds.
type Hold struct {
	// Vanished nodes are gone since less than Window, Present ones are there.
	Vanished, Present int
	Window            time.Duration
	// Until is when enough of them will have been gone for long enough, if no more nodes vanish.
	Until time.Time
	// Last is the node that vanished last.
	Last string
}

// Note tells people of the hold.
func (h Hold) Note() Note {
	return Note{
		Reason: ClearingHeld, Warning: true, Node: h.Last,
		Message: fmt.Sprintf("%d nodes vanished within %s, %d are left: this may be a mistake, so no attachment is cleared and no volume is taken over from them until %s. Nodes that come back don't count. If they were meant to go, there is nothing to do but wait; see --mass-deletion-nodes, -share and -window.",
			h.Vanished, h.Window, h.Present, h.Until.UTC().Format(time.RFC3339)),
	}
}

// Valve holds clearing and take-over while so many nodes vanished at once that it looks like a mistake: a restored backup,
// a broken autoscaler, the wrong context. It delays and alerts; it doesn't keep Kubernetes' own controllers from anything.
//
// It knows the nodes from what it is told, and has no goroutine: time passes for it when it is told something or asked.
// It is safe for concurrent use.
type Valve struct {
	config   ValveConfig
	observer ValveObserver

	mu sync.Mutex
	// now never goes back, whatever the clock does: the worst that a bad clock can do is to hold for longer.
	now     time.Time
	begun   bool
	tripped bool
	present map[string]struct{}
	// vanished are the nodes that count, the oldest first, and numbers has the number of each.
	vanished []vanishing
	numbers  map[string]int
	next     int
}

type vanishing struct {
	node   string
	at     time.Time
	number int
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
	return &Valve{config: config, observer: observer, present: map[string]struct{}{}, numbers: map[string]int{}}, nil
}

// Appeared tells that a node exists, whether it is new, came back, or was there when it was first looked.
func (v *Valve) Appeared(node string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.present[node] = struct{}{}
	if number, counted := v.numbers[node]; counted {
		delete(v.numbers, node)
		i, _ := slices.BinarySearchFunc(v.vanished, number, func(v vanishing, number int) int { return v.number - number })
		v.vanished = slices.Delete(v.vanished, i, i+1)
	}
	v.judge()
}

// Vanished tells that a node doesn't exist any more.
func (v *Valve) Vanished(node string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.judge()
	v.count(node)
	v.judge()
}

// Begin tells that every node which exists has appeared by now, and which nodes something names: those among them that
// don't exist count as vanished now, since nobody knows for how long they have been gone. Until then the valve holds.
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

// Held tells whether nothing may be cleared or taken over now.
func (v *Valve) Held() bool { return v.Left() > 0 }

// Left is for how long, if no more nodes vanish, nothing may be cleared or taken over; 0 if it may.
func (v *Valve) Left() time.Duration {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.judge()
	switch {
	case v.config.Nodes == 0:
		return 0
	case !v.begun:
		return beginAfter
	case v.tripped:
		return v.until().Sub(v.now)
	default:
		return 0
	}
}

// count adds a node to those that vanished, once, after judge has brought the clock up to date.
func (v *Valve) count(node string) {
	delete(v.present, node)
	if _, counted := v.numbers[node]; counted {
		return
	}
	v.numbers[node] = v.next
	v.vanished = append(v.vanished, vanishing{node: node, at: v.now, number: v.next})
	v.next++
}

// judge drops what is too old to count and tells of what has changed by that or by anything before.
func (v *Valve) judge() {
	if now := v.config.Now(); now.After(v.now) {
		v.now = now
	}
	old := 0
	for old < len(v.vanished) && v.now.Sub(v.vanished[old].at) >= v.config.Window {
		delete(v.numbers, v.vanished[old].node)
		old++
	}
	v.vanished = v.vanished[old:]
	trips := v.begun && v.config.Nodes > 0 && v.tooMany(len(v.vanished))
	if trips == v.tripped {
		return
	}
	v.tripped = trips
	if !trips {
		v.observer.Opened()
		return
	}
	v.observer.Tripped(Hold{
		Vanished: len(v.vanished), Present: len(v.present), Window: v.config.Window,
		Until: v.until(), Last: v.vanished[len(v.vanished)-1].node,
	})
}

// tooMany tells whether that many vanished nodes trip the valve. The quotient is compared, not a product, so that a share
// of 0.07 is met by 7 of 100.
func (v *Valve) tooMany(count int) bool {
	return count >= v.config.Nodes && float64(count)/float64(len(v.present)+count) >= v.config.Share
}

// until is when the valve opens if nothing but time passes: when one node less than the fewest that trip it are left.
func (v *Valve) until() time.Time {
	fewest := sort.Search(len(v.vanished), v.tooMany)
	return v.vanished[len(v.vanished)-fewest].at.Add(v.config.Window)
}
