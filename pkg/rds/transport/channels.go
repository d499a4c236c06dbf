package transport

import (
	"context"
	"sync"
	"time"
)

// regrowAfter is how long a limit that was learned holds before one channel more is tried: what the appliance allows may
// depend on who else uses it.
const regrowAfter = 10 * time.Minute

// channels bounds the channels in use at a time. The bound falls to what the appliance turns out to allow.
type channels struct {
	most int

	mu    sync.Mutex
	limit int
	used  int
	// learned is when the limit was last changed.
	learned time.Time
	// freed is closed when a channel is free again, and replaced.
	freed chan struct{}
}

func newChannels(most int) *channels {
	return &channels{most: most, limit: most, freed: make(chan struct{})}
}

// take waits for a free channel. It returns the context's error if there is none before ctx ends. The caller has to put it
// back.
func (c *channels) take(ctx context.Context) error {
	for {
		freed, taken := c.tryTake(time.Now())
		if taken {
			return nil
		}
		select {
		case <-freed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (c *channels) tryTake(now time.Time) (freed <-chan struct{}, taken bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.limit < c.most && now.Sub(c.learned) >= regrowAfter {
		c.limit, c.learned = c.limit+1, now
	}
	if c.used >= c.limit {
		return c.freed, false
	}
	c.used++
	return nil, true
}

func (c *channels) putBack() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.used--
	close(c.freed)
	c.freed = make(chan struct{})
}

// shared reports whether more than one channel is in use.
func (c *channels) shared() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.used > 1
}

// full notes that the appliance refused a channel, or left the request for it unanswered, while those of others were in use.
// It returns the new limit, or 0 if nobody else used any: then the appliance allows none at all.
func (c *channels) full(now time.Time) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	others := c.used - 1
	if others > 0 {
		c.limit, c.learned = min(c.limit, others), now
	}
	return others
}
