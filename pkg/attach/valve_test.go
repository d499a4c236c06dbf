package attach

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// naiveValve is what a valve is meant to be, in the plainest words: it keeps everything and counts it all over each
// time.
type naiveValve struct {
	config   ValveConfig
	now      time.Time
	begun    bool
	present  map[string]bool
	vanished map[string]time.Time
}

func (n *naiveValve) tick(now time.Time) {
	if now.After(n.now) {
		n.now = now
	}
	for node, at := range n.vanished {
		if !n.now.Before(at.Add(n.config.Window)) {
			delete(n.vanished, node)
		}
	}
}

func (n *naiveValve) vanish(node string) {
	delete(n.present, node)
	if _, counted := n.vanished[node]; !counted {
		n.vanished[node] = n.now
	}
}

func (n *naiveValve) appear(node string) {
	n.present[node] = true
	delete(n.vanished, node)
}

func (n *naiveValve) pausedAt(now time.Time) bool {
	count := 0
	for _, at := range n.vanished {
		if now.Before(at.Add(n.config.Window)) {
			count++
		}
	}
	share := float64(count) / float64(len(n.present)+count)
	return n.config.Nodes > 0 && (!n.begun || count >= n.config.Nodes && share >= n.config.Share)
}

// history is one run of a valve and its reference side by side, under a clock that may go anywhere.
type history struct {
	valve            *Valve
	naive            *naiveValve
	clock            time.Time
	tripped, changes int
	log              []string
}

func newHistory(t *testing.T, config ValveConfig) *history {
	t.Helper()
	h := &history{clock: time.Unix(1_700_000_000, 0)}
	h.naive = &naiveValve{config: config, present: map[string]bool{}, vanished: map[string]time.Time{}}
	config.Now = func() time.Time { return h.clock }
	var err error
	h.valve, err = NewValve(config, ValveObserver{
		Tripped: func(pause Pause) {
			h.tripped, h.changes = h.tripped+1, h.changes+1
			if pause.Vanished < config.Nodes || pause.Last == "" || !pause.Until.After(h.naive.now) {
				t.Errorf("tripped by %+v", pause)
			}
		},
		Opened: func() { h.tripped, h.changes = h.tripped-1, h.changes+1 },
	})
	if err != nil {
		t.Fatal(err)
	}
	// Both look at the clock at the same moments, or they couldn't agree on how late it ever was.
	h.naive.tick(h.clock)
	h.valve.Paused()
	return h
}

func (h *history) step(random *rand.Rand) {
	node := fmt.Sprintf("node-%d", random.IntN(8))
	kind := random.IntN(20)
	if kind >= 15 {
		by := time.Duration(random.IntN(400)-100) * time.Millisecond
		h.log = append(h.log, "clock "+by.String())
		h.clock = h.clock.Add(by)
		return
	}
	h.naive.tick(h.clock)
	switch {
	case kind == 0 && !h.naive.begun:
		h.log = append(h.log, "begin "+node)
		h.naive.begun = true
		if !h.naive.present[node] {
			h.naive.vanish(node)
		}
		h.valve.Begin([]string{node, node})
	case kind < 8:
		h.log = append(h.log, "appear "+node)
		h.naive.appear(node)
		h.valve.Appeared(node)
	default:
		h.log = append(h.log, "vanish "+node)
		h.naive.vanish(node)
		h.valve.Vanished(node)
	}
}

// compare returns how the valve differs from the reference, or nothing.
func (h *history) compare() string {
	h.naive.tick(h.clock)
	left, want := h.valve.PausedFor(), h.naive.pausedAt(h.naive.now)
	switch {
	case (left > 0) != want:
		return fmt.Sprintf("paused for %s, want paused %t", left, want)
	case (h.tripped == 1) != (want && h.naive.begun && h.naive.config.Nodes > 0), h.tripped > 1:
		return fmt.Sprintf("told of %d trips more than openings, want paused %t", h.tripped, want)
	case left > 0 && h.naive.begun && !h.naive.pausedAt(h.naive.now.Add(left-1)):
		return fmt.Sprintf("left %s is longer than needed", left)
	case left > 0 && h.naive.begun && h.naive.pausedAt(h.naive.now.Add(left)):
		return fmt.Sprintf("left %s is too short", left)
	default:
		return ""
	}
}

func TestValveIsWhatItIsMeantToBe(t *testing.T) {
	trips := 0
	for seed := range uint64(2000) {
		random := rand.New(rand.NewPCG(seed, 1))
		h := newHistory(t, ValveConfig{
			Nodes: random.IntN(5), Share: float64(1+random.IntN(10)) / 10, Window: time.Duration(1+random.IntN(10)) * 100 * time.Millisecond,
		})
		for range 120 {
			h.step(random)
			if random.IntN(2) == 0 {
				continue
			}
			if difference := h.compare(); difference != "" {
				t.Fatalf("seed %d, %+v: %s\n%s", seed, h.naive.config, difference, strings.Join(h.log, "\n"))
			}
		}
		trips += h.changes
	}
	if trips < 1000 {
		t.Errorf("only %d changes in all histories: they show nothing", trips)
	}
}

func TestValve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var pauses []Pause
		opened := 0
		valve, err := NewValve(ValveConfig{Nodes: 3, Share: 0.3, Window: 10 * time.Minute}, ValveObserver{
			Tripped: func(pause Pause) { pauses = append(pauses, pause) }, Opened: func() { opened++ },
		})
		if err != nil {
			t.Fatal(err)
		}
		if !valve.Paused() {
			t.Error("not paused before it knows the nodes")
		}
		for i := range 10 {
			valve.Appeared(fmt.Sprintf("node-%d", i))
		}
		// A node that was gone before we came, named twice, counts once and from now on.
		valve.Begin([]string{"node-0", "gone", "gone"})
		if valve.Paused() {
			t.Error("paused for one absent node")
		}
		valve.Vanished("node-0")
		valve.Vanished("node-0")
		if valve.Paused() {
			t.Error("paused for two nodes")
		}
		<-time.After(time.Minute)
		valve.Vanished("node-1")
		// 3 of 11, a share of 0.27.
		if valve.Paused() {
			t.Error("paused for a smaller share than 0.3")
		}
		valve.Vanished("node-2")
		if got, want := valve.PausedFor(), 9*time.Minute; got != want {
			t.Errorf("4 of 11: paused for %s, want %s, when the oldest two are out of the window", got, want)
		}
		valve.Vanished("node-3")
		if len(pauses) != 1 || pauses[0].Vanished != 4 || pauses[0].Present != 7 || pauses[0].Last != "node-2" {
			t.Errorf("told of %+v, want one trip by 4 nodes with 7 left", pauses)
		}
		note := pauses[0].Note()
		if note.Reason != ClearingHeld || !note.Warning || note.Node != "node-2" || !strings.HasPrefix(note.Message, "4 nodes vanished within 10m0s, 7 are left") {
			t.Errorf("note: %+v", note)
		}
		valve.Appeared("node-3")
		valve.Appeared("node-2")
		if valve.Paused() || opened != 1 {
			t.Errorf("nodes that came back still count (told of %d openings)", opened)
		}
		valve.Vanished("node-2")
		<-time.After(9 * time.Minute)
		if valve.Paused() || opened != 2 {
			t.Errorf("still paused after the window (told of %d openings)", opened)
		}
	})
}

func TestASharesBoundaryIsExact(t *testing.T) {
	for percent := 1; percent <= 100; percent++ {
		valve, err := NewValve(ValveConfig{Nodes: 1, Share: float64(percent) / 100, Window: time.Hour}, ValveObserver{Tripped: func(Pause) {}, Opened: func() {}})
		if err != nil {
			t.Fatal(err)
		}
		for node := range 100 {
			valve.Appeared(strconv.Itoa(node))
		}
		valve.Begin(nil)
		for node := range percent {
			if valve.Paused() {
				t.Errorf("paused for %d of 100, want %d", node, percent)
			}
			valve.Vanished(strconv.Itoa(node))
		}
		if !valve.Paused() {
			t.Errorf("not paused for %d of 100", percent)
		}
	}
}

func TestAValveSwitchedOffNeverPauses(t *testing.T) {
	valve, err := NewValve(ValveConfig{Share: 1, Window: time.Hour}, ValveObserver{Tripped: func(Pause) { t.Error("tripped") }, Opened: func() { t.Error("opened") }})
	if err != nil {
		t.Fatal(err)
	}
	valve.Vanished("a")
	if valve.Paused() {
		t.Error("paused before it began")
	}
	valve.Begin([]string{"b", "c"})
	if valve.Paused() {
		t.Error("paused")
	}
}

func TestValveConfiguration(t *testing.T) {
	good := ValveConfig{Nodes: 3, Share: 0.3, Window: time.Minute}
	for name, change := range map[string]func(*ValveConfig){
		"negative nodes": func(c *ValveConfig) { c.Nodes = -1 },
		"share of 0":     func(c *ValveConfig) { c.Share = 0 },
		"share above 1":  func(c *ValveConfig) { c.Share = 1.01 },
		"no number":      func(c *ValveConfig) { c.Share = math.NaN() },
		"no window":      func(c *ValveConfig) { c.Window = 0 },
	} {
		config := good
		change(&config)
		if _, err := NewValve(config, ValveObserver{}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestValveUnderConcurrency(t *testing.T) {
	valve, err := NewValve(ValveConfig{Nodes: 3, Share: 0.3, Window: time.Nanosecond}, ValveObserver{Tripped: func(Pause) {}, Opened: func() {}})
	if err != nil {
		t.Fatal(err)
	}
	var busy sync.WaitGroup
	for worker := range 4 {
		busy.Go(func() {
			for i := range 500 {
				node := strconv.Itoa(i % 7)
				valve.Vanished(node)
				valve.Begin([]string{node, strconv.Itoa(worker)})
				_ = valve.Paused()
				valve.Appeared(node)
			}
		})
	}
	busy.Wait()
}
