package informers

import (
	"context"
	"sync"

	storagev1 "k8s.io/api/storage/v1"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
)

// waiters lets callers wait for events about an attachment or a volume. A key is the name of an attachment or the
// handle of a volume. A handle has slashes and a name has none, so keys can't collide.
type waiters struct {
	mu    sync.Mutex
	byKey map[string]*signal
}

// signal is closed at the next event. users is how many callers may still wait for it.
type signal struct {
	closed chan struct{}
	users  int
}

func newWaiters() *waiters { return &waiters{byKey: map[string]*signal{}} }

// signal returns a channel that is closed at the next event about the key, for as long as ctx lasts.
func (w *waiters) signal(ctx context.Context, key string) <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.byKey[key]
	if s == nil {
		s = &signal{closed: make(chan struct{})}
		w.byKey[key] = s
	}
	s.users++
	context.AfterFunc(ctx, func() { w.release(key, s) })
	return s.closed
}

// release drops a signal that nobody can wait for any more.
func (w *waiters) release(key string, s *signal) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s.users--; s.users == 0 && w.byKey[key] == s {
		delete(w.byKey, key)
	}
}

// wake closes the channels of the keys.
func (w *waiters) wake(keys ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, key := range keys {
		if s := w.byKey[key]; s != nil {
			close(s.closed)
			delete(w.byKey, key)
		}
	}
}

// wake wakes the requests that wait for an event about the attachment or its volume.
func (c *Cluster) wake(attachment *storagev1.VolumeAttachment) {
	c.waiters.wake(attachment.Name, c.attachmentOf(attachment).Volume)
}

// wakeAttached wakes the requests that wait for an event about a volume that is attached to the node.
func (c *Cluster) wakeAttached(nodeName string) {
	for _, name := range c.attachmentsOn(nodeName) {
		if attachment, found := c.CachedAttachment(name); found {
			c.waiters.wake(attachment.Volume)
		}
	}
}

// AttachmentsChanged returns a channel that is closed at the next event about an attachment of the volume, or when a
// node that it is attached to vanishes or becomes another machine. It is of no use after ctx has ended.
func (c *Cluster) AttachmentsChanged(ctx context.Context, handle string) <-chan struct{} {
	return c.waiters.signal(ctx, handle)
}

// AwaitAttachment returns an attachment as soon as the cache has it. found is false if ctx ended first.
func (c *Cluster) AwaitAttachment(ctx context.Context, name string) (attachment attach.Attachment, found bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for {
		// The channel is taken before the check, so that no event in between is missed.
		signal := c.waiters.signal(ctx, name)
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
