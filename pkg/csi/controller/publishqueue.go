package controller

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

const (
	// waitMargin is the part of a call's deadline that is kept for what follows the wait: a few requests and one exec.
	waitMargin = 3 * time.Second
	// maxWait is how long a call without a deadline may wait. external-attacher's own deadline is 15 s.
	maxWait = 12 * time.Second
)

// publishQueue is where publish requests wait for a conflict to end. After an error, the sidecars would back off for up
// to minutes. Requests for one volume are served in the order of their arrival. The number that may wait is bounded:
// each one occupies a worker of external-attacher, and detaching, which ends the conflicts, needs workers too.
type publishQueue struct {
	limit int
	await func(context.Context, <-chan struct{}) error

	mu      sync.Mutex
	waiting int
	tickets map[rds.VolumeID][]*ticket
}

// ticket is the place of one request in the queue of its volume.
type ticket struct {
	queue *publishQueue
	id    rds.VolumeID
	// first is closed when every earlier request is done.
	first chan struct{}
}

func newPublishQueue(limit int, await func(context.Context, <-chan struct{}) error) *publishQueue {
	return &publishQueue{limit: limit, await: await, tickets: map[rds.VolumeID][]*ticket{}}
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

// join adds a request, and returns when it is the first of its volume. It returns failure.ErrBusy if the request must
// not wait, or has waited too long. The caller must call done on the ticket.
func (q *publishQueue) join(ctx context.Context, id rds.VolumeID) (*ticket, error) {
	q.mu.Lock()
	t := &ticket{queue: q, id: id, first: make(chan struct{})}
	behind := len(q.tickets[id]) > 0
	q.tickets[id] = append(q.tickets[id], t)
	q.mu.Unlock()
	if !behind {
		return t, nil
	}
	if err := t.wait(ctx, t.first); err != nil {
		t.done()
		return nil, fmt.Errorf("volume %s: %w: an earlier request to publish it waits for its holder to leave", id, failure.ErrBusy)
	}
	return t, nil
}

// wait waits until the signal is closed. It returns an error when the time is over, or at once if too many requests
// wait already.
func (t *ticket) wait(ctx context.Context, signal <-chan struct{}) error {
	if !t.queue.count() {
		return fmt.Errorf("%w: %d requests wait already", failure.ErrBusy, t.queue.limit)
	}
	defer t.queue.uncount()
	limit := time.Now().Add(maxWait)
	if deadline, has := ctx.Deadline(); has {
		limit = deadline.Add(-waitMargin)
	}
	ctx, cancel := context.WithDeadline(ctx, limit)
	defer cancel()
	return t.queue.await(ctx, signal)
}

// count counts a request that waits from now on. It returns false if too many wait already.
func (q *publishQueue) count() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.waiting >= q.limit {
		return false
	}
	q.waiting++
	return true
}

func (q *publishQueue) uncount() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting--
}

// done removes the request from the queue. The next one of the volume becomes the first.
func (t *ticket) done() {
	q := t.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	tickets := q.tickets[t.id]
	wasFirst := tickets[0] == t
	tickets = slices.DeleteFunc(tickets, func(other *ticket) bool { return other == t })
	if len(tickets) == 0 {
		delete(q.tickets, t.id)
		return
	}
	q.tickets[t.id] = tickets
	if wasFirst {
		close(tickets[0].first)
	}
}
