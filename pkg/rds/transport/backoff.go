package transport

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// backoff spaces attempts to connect. Each failure doubles the wait, from first to limit. A success begins anew. Up to
// half of each wait is cut off at random, so that several controllers don't come back in step. It is not safe for
// concurrent use.
type backoff struct {
	first, limit time.Duration

	wait  time.Duration
	until time.Time
	cause error
}

func (b *backoff) failed(now time.Time, cause error) {
	b.wait = min(max(2*b.wait, b.first), b.limit)
	jitter := rand.N(b.wait/2 + 1) //nolint:gosec // nobody gains by guessing it
	b.until, b.cause = now.Add(b.wait-jitter), cause
}

func (b *backoff) succeeded() { b.wait, b.until, b.cause = 0, time.Time{}, nil }

// refuse returns the last failure while the wait after it isn't over, and nil once another attempt may be made.
func (b *backoff) refuse(now time.Time) error {
	if left := b.until.Sub(now); left > 0 {
		return fmt.Errorf("%w (tried again in %s)", b.cause, left.Round(time.Millisecond))
	}
	return nil
}
