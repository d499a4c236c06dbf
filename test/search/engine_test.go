package search

import (
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"testing/synctest"
	"time"
)

// engine runs actors, one at a time, in an order that follows from its seed alone. It lives in a bubble, so the clock that
// everybody sees, product and simulator included, is its own: time passes when the engine lets it.
type engine struct {
	random  *rand.Rand
	actors  []*actor
	current *actor
	start   time.Time
	steps   int
	// favourite runs alone for a while, and starved not at all: rare orders are found by being unfair.
	favourite, starved *actor
	unfairUntil        int
	// check is called after every step.
	check     func() error
	violation error
	quiet     bool
	timeline  []string
}

// actor is one thread of what happens. It runs until it pauses, and nothing else runs meanwhile.
type actor struct {
	name  string
	next  func() (struct{}, bool)
	stop  func()
	yield func(struct{}) bool
	// wake and ready say when it may go on: at a time, as soon as something holds, or, with neither, at once.
	wake  time.Time
	ready func() bool
	done  bool
}

// errUnwound ends an actor that was stopped while it paused.
var errUnwound = errors.New("stopped")

func newEngine(seed uint64) *engine {
	return &engine{random: rand.New(rand.NewPCG(seed, 1)), check: func() error { return nil }}
}

// spawn adds an actor.
func (e *engine) spawn(name string, run func()) *actor {
	a := &actor{name: name}
	a.next, a.stop = iter.Pull(func(yield func(struct{}) bool) {
		a.yield = yield
		defer func() {
			if r := recover(); r != nil && r != errUnwound { //nolint:errorlint // a panic's value is compared, not an error
				panic(r)
			}
		}()
		run()
	})
	e.actors = append(e.actors, a)
	return a
}

// kill stops actors wherever they are.
func (e *engine) kill(actors ...*actor) {
	for _, a := range actors {
		if a == e.current {
			panic("an actor can't kill itself")
		}
		a.done = true
		a.stop()
	}
	e.actors = slices.DeleteFunc(e.actors, func(a *actor) bool { return a.done })
}

// pause lets others go first. Every call to the appliance, the API server, a cache or the clock does.
func (e *engine) pause() { e.wait(time.Time{}, nil) }

// sleep lets others run for a time.
func (e *engine) sleep(d time.Duration) { e.wait(time.Now().Add(d), nil) }

// await pauses until something holds, or until the limit if it isn't zero; it tells whether it holds.
func (e *engine) await(limit time.Time, ready func() bool) bool {
	e.wait(limit, ready)
	return ready()
}

func (e *engine) wait(wake time.Time, ready func() bool) {
	a := e.current
	a.wake, a.ready = wake, ready
	if !a.yield(struct{}{}) {
		panic(errUnwound)
	}
}

func (a *actor) runnable(now time.Time) bool {
	switch {
	case a.ready != nil && a.ready():
		return true
	case !a.wake.IsZero():
		return !now.Before(a.wake)
	default:
		return a.ready == nil
	}
}

// run takes steps until enough were taken, the time has come, or something is wrong.
func (e *engine) run(steps int, until time.Time) {
	for range steps {
		if e.violation != nil || !time.Now().Before(until) {
			return
		}
		candidates := e.candidates()
		if len(candidates) == 0 || e.chance(25) {
			e.pass(candidates, until)
			continue
		}
		e.step(e.choose(candidates))
	}
}

func (e *engine) candidates() []*actor {
	now := time.Now()
	var candidates []*actor
	for _, a := range e.actors {
		if a.runnable(now) {
			candidates = append(candidates, a)
		}
	}
	return candidates
}

func (e *engine) choose(candidates []*actor) *actor {
	if e.steps >= e.unfairUntil {
		e.favourite, e.starved = nil, nil
		e.unfairUntil = e.steps + 5 + e.random.IntN(60)
		switch e.random.IntN(3) {
		case 0:
			e.favourite = candidates[e.random.IntN(len(candidates))]
		case 1:
			e.starved = candidates[e.random.IntN(len(candidates))]
		}
	}
	if e.favourite != nil && slices.Contains(candidates, e.favourite) && !e.chance(8) {
		return e.favourite
	}
	chosen := candidates[e.random.IntN(len(candidates))]
	if chosen == e.starved && len(candidates) > 1 {
		chosen = candidates[e.random.IntN(len(candidates))]
	}
	return chosen
}

func (e *engine) step(a *actor) {
	e.steps++
	e.current = a
	_, alive := a.next()
	e.current = nil
	if !alive {
		a.done = true
		e.actors = slices.DeleteFunc(e.actors, func(other *actor) bool { return other == a })
	}
	if err := e.check(); err != nil && e.violation == nil {
		e.violation = err
		e.log("VIOLATION %v", err)
	}
}

// pass lets time go by: to when the next actor wakes, or a little.
func (e *engine) pass(candidates []*actor, until time.Time) {
	by := time.Duration(1+e.random.IntN(2000)) * time.Millisecond
	if len(candidates) == 0 {
		earliest := until
		for _, a := range e.actors {
			if !a.wake.IsZero() && a.wake.Before(earliest) {
				earliest = a.wake
			}
		}
		by = max(time.Until(earliest), time.Millisecond)
	}
	<-time.After(by)
	synctest.Wait()
}

// chance is true once in so many times.
func (e *engine) chance(in int) bool { return e.random.IntN(in) == 0 }

// upTo is a random time, shorter than the limit.
func (e *engine) upTo(limit time.Duration) time.Duration {
	return time.Duration(e.random.Int64N(int64(limit)))
}

// log adds a line to the timeline.
func (e *engine) log(format string, args ...any) {
	if e.quiet {
		return
	}
	name := "environment"
	if e.current != nil {
		name = e.current.name
	}
	text := fmt.Sprintf(format, args...)
	e.timeline = append(e.timeline, fmt.Sprintf("%8.3fs  %-24s %s", time.Since(e.start).Seconds(), name, text[:min(len(text), 200)]))
}

// end stops everybody.
func (e *engine) end() {
	e.kill(slices.Clone(e.actors)...)
}

func (e *engine) story() string { return strings.Join(e.timeline, "\n") }
