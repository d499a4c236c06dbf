package transport

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"
)

// An appliance with fewer channels than we would use refuses those beyond, or doesn't answer. Either way every command is
// carried out, without more than a few attempts beyond the limit.
func TestFewerChannelsThanExpected(t *testing.T) {
	for name, hangs := range map[string]bool{"refuses": false, "hangs": true} {
		for limit := int32(1); limit <= 3; limit++ {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p, s := newPeer(t)
					var beyond atomic.Int32
					var open [100]atomic.Int32 // by connection
					p.opening = func(dial int32, request ssh.NewChannel) bool {
						if open[dial].Add(1) <= limit {
							return false
						}
						open[dial].Add(-1)
						beyond.Add(1)
						if !hangs {
							_ = request.Reject(ssh.ResourceShortage, "too many channels")
						}
						return true
					}
					p.exec = func(c call) bool {
						<-time.After(time.Second)
						defer open[c.n].Add(-1)
						return echo(c)
					}
					results := execAtOnce(t, s, 20)
					for range cap(results) {
						if err := <-results; err != nil {
							t.Errorf("limit %d: %v", limit, err)
						}
					}
					if got := beyond.Load(); got > DefaultMaxChannels {
						t.Errorf("limit %d: %d attempts beyond it, want that it is learned", limit, got)
					}
				})
			})
		}
	}
}

func TestALearnedLimitIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChannels(4)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		taken := func() (n int) {
			for c.take(ctx) == nil {
				n++
			}
			return n
		}
		if got := taken(); got != 4 {
			t.Errorf("at first: %d, want 4", got)
		}
		c.putBack()
		c.putBack()
		if got := c.full(time.Now()); got != 1 {
			t.Errorf("full beside %d others, want 1", got)
		}
		c.putBack()
		c.putBack()
		for want := 1; want <= 4; want++ {
			if got := taken(); got != want {
				t.Errorf("got %d channels, want %d", got, want)
			}
			for range want {
				c.putBack()
			}
			<-time.After(regrowAfter)
		}
		if got := newChannels(4).full(time.Now()); got > 0 {
			t.Errorf("full though nobody uses any: %d", got)
		}
	})
}
