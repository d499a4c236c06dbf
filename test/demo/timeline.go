package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// milestone is one thing that must happen after the node's deletion.
type milestone int

const (
	nodeDeleted milestone = iota
	podGone
	deletionAsked
	accessRevoked
	attachmentGone
	attachedElsewhere
	runningElsewhere
	milestones // how many there are
)

func (m milestone) String() string {
	return [...]string{
		"Node object deleted", "pod object gone (pod garbage collection)", "stale VolumeAttachment deleted by the driver",
		"access revoked at the appliance", "stale VolumeAttachment gone (detached)", "attached to the other node", "pod Running on the other node",
	}[m]
}

var errNotReached = errors.New("it never happened")

// timeline notes when each milestone was reached first, and prints it then. It is safe for concurrent use.
type timeline struct {
	show printer

	mu      sync.Mutex
	start   time.Time // the node's deletion
	at      [milestones]time.Time
	changed chan struct{} // closed and replaced at every change
}

func newTimeline(show printer) *timeline {
	return &timeline{show: show, changed: make(chan struct{})}
}

// begin starts the clock.
func (t *timeline) begin() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.start = time.Now()
}

// reach notes a milestone at a moment; only the first time counts.
func (t *timeline) reach(m milestone, at time.Time, detail string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.at[m].IsZero() {
		return
	}
	t.at[m] = at
	t.show("  %+8.2f s  %s: %s\n", at.Sub(t.start).Seconds(), m, detail)
	close(t.changed)
	t.changed = make(chan struct{})
}

// when returns the moment of a milestone, zero if it wasn't reached, and a channel that is closed at the next change.
func (t *timeline) when(m milestone) (time.Time, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.at[m], t.changed
}

// await waits for a milestone.
func (t *timeline) await(ctx context.Context, m milestone) error {
	for {
		at, changed := t.when(m)
		if !at.IsZero() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%s: %w: %w", m, errNotReached, context.Cause(ctx))
		}
	}
}

// before returns an error unless both milestones were reached, in this order.
func (t *timeline) before(first, second milestone) error {
	a, _ := t.when(first)
	b, _ := t.when(second)
	if a.IsZero() || b.IsZero() || a.After(b) {
		return fmt.Errorf("%w: %q (%s) must come before %q (%s)", errEvidence, first, a.Format(time.StampMilli), second, b.Format(time.StampMilli))
	}
	return nil
}
