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
	byKey map[string]chan struct{}
}

func newWaiters() *waiters { return &waiters{byKey: map[string]chan struct{}{}} }

// signal returns a channel that is closed at the next event about the key.
func (w *waiters) signal(key string) <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.byKey[key] == nil {
		w.byKey[key] = make(chan struct{})
	}
	return w.byKey[key]
}

// wake closes the channels of the keys.
func (w *waiters) wake(keys ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, key := range keys {
		if signal := w.byKey[key]; signal != nil {
			close(signal)
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
// node that it is attached to vanishes or becomes another machine.
func (c *Cluster) AttachmentsChanged(handle string) <-chan struct{} { return c.waiters.signal(handle) }

// AwaitAttachment returns an attachment as soon as the cache has it. found is false if ctx ended first.
func (c *Cluster) AwaitAttachment(ctx context.Context, name string) (attachment attach.Attachment, found bool) {
	// Otherwise the channel would be left in the map when the last request gives up. Other requests check again and take a
	// new channel.
	defer c.waiters.wake(name)
	for {
		// The channel is taken before the check, so that no event in between is missed.
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
