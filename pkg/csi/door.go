package csi

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

const (
	// holdMargin is kept of a call's deadline for what is left to do after waiting: a few requests and one exec.
	holdMargin = 3 * time.Second
	// holdLongest is how long a call without a deadline may be held; external-attacher's own deadline is 15 s.
	holdLongest = 12 * time.Second
)

// door holds publish requests whose conflict is about to resolve: an error would make the sidecars back off for up to
// minutes. Requests for one volume pass in the order in which they came. It is bounded, since detaching, which resolves
// the conflicts, needs workers of the same external-attacher.
type door struct {
	limit int
	await func(context.Context, <-chan struct{}) error

	mu     sync.Mutex
	held   int
	queues map[string][]*place
}

// place is one request's place in the queue of its volume.
type place struct {
	door   *door
	volume string
	// first is closed when every earlier request has left.
	first chan struct{}
	// holding tells that this place counts against the limit.
	holding bool
}

func newDoor(limit int, await func(context.Context, <-chan struct{}) error) *door {
	return &door{limit: limit, await: await, queues: map[string][]*place{}}
}

// awaitSignal waits until the channel is closed or ctx ends.
func awaitSignal(ctx context.Context, signal <-chan struct{}) error {
	select {
	case <-signal:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// enter queues a request, and returns when it is the first of its volume. Its error is errBusy if it would have to wait
// and may not. The place must be left.
func (d *door) enter(ctx context.Context, volume string) (*place, error) {
	d.mu.Lock()
	p := &place{door: d, volume: volume, first: make(chan struct{})}
	waits := len(d.queues[volume]) > 0
	d.queues[volume] = append(d.queues[volume], p)
	d.mu.Unlock()
	if !waits {
		return p, nil
	}
	if err := p.wait(ctx, p.first); err != nil {
		p.leave()
		return nil, fmt.Errorf("volume %s: %w: an earlier request to publish it waits for its holder to leave", volume, errBusy)
	}
	return p, nil
}

// wait holds the request until the signal is closed. It returns an error when the time is up, or at once if too many are
// held already.
func (p *place) wait(ctx context.Context, signal <-chan struct{}) error {
	if !p.hold() {
		return fmt.Errorf("%w: %d requests are held already", errBusy, p.door.limit)
	}
	limit := time.Now().Add(holdLongest)
	if deadline, has := ctx.Deadline(); has {
		limit = deadline.Add(-holdMargin)
	}
	ctx, cancel := context.WithDeadline(ctx, limit)
	defer cancel()
	return p.door.await(ctx, signal)
}

func (p *place) hold() bool {
	p.door.mu.Lock()
	defer p.door.mu.Unlock()
	if !p.holding && p.door.held < p.door.limit {
		p.holding = true
		p.door.held++
	}
	return p.holding
}

// leave gives the place up, and lets the next request of the volume come forward.
func (p *place) leave() {
	d := p.door
	d.mu.Lock()
	defer d.mu.Unlock()
	if p.holding {
		d.held--
	}
	queue := d.queues[p.volume]
	wasFirst := queue[0] == p
	queue = slices.DeleteFunc(queue, func(other *place) bool { return other == p })
	if len(queue) == 0 {
		delete(d.queues, p.volume)
		return
	}
	d.queues[p.volume] = queue
	if wasFirst {
		close(queue[0].first)
	}
}
