package informers

import (
	"context"
	"sync"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
)

// waiters lets callers wait for an attachment to appear in the cache.
type waiters struct {
	mu     sync.Mutex
	byName map[string]chan struct{}
}

func newWaiters() *waiters { return &waiters{byName: map[string]chan struct{}{}} }

// signal gives a channel that is closed at the next event about the attachment.
func (w *waiters) signal(name string) <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.byName[name] == nil {
		w.byName[name] = make(chan struct{})
	}
	return w.byName[name]
}

func (w *waiters) wake(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if signal := w.byName[name]; signal != nil {
		close(signal)
		delete(w.byName, name)
	}
}

// AwaitAttachment gives an attachment as soon as the cache has it, woken by its event. found is false if ctx ended first.
func (c *Cluster) AwaitAttachment(ctx context.Context, name string) (attachment attach.Attachment, found bool) {
	// Whoever else waits for it looks again and takes a new signal; without this the last to give up would leave one behind.
	defer c.waiters.wake(name)
	for {
		// The signal is taken before the look, so that no event between the two is missed.
		signal := c.waiters.signal(name)
		if attachment, found = c.CachedAttachment(name); found {
			return attachment, true
		}
		select {
		case <-signal:
		case <-ctx.Done():
			return attach.Attachment{}, false
		}
	}
}
