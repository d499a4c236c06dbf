package informers

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	coreinformers "k8s.io/client-go/informers/core/v1"
	storageinformers "k8s.io/client-go/informers/storage/v1"
	"k8s.io/client-go/tools/cache"
)

// NodeListener is called once for every node when it appears, those that are there from the start included, and once when
// it vanishes. *attach.Valve is one.
type NodeListener interface {
	Appeared(node string)
	Vanished(node string)
}

// listeners are told of events. They must not block.
type listeners struct {
	// enqueue is called with the name of every attachment that something happened to: itself, its node, its
	// PersistentVolume, or a pod that it waits for.
	enqueue func(attachmentName string)
	nodes   NodeListener
}

// nobody listens to nodes.
type nobody struct{}

func (nobody) Appeared(string) {}
func (nobody) Vanished(string) {}

// OnAttachments has enqueue called with the name of every attachment that something happened to. It is called before Run.
func (c *Cluster) OnAttachments(enqueue func(attachmentName string)) { c.listeners.enqueue = enqueue }

// OnNodes has the listener called for every node that appears or vanishes. It is called before Run.
func (c *Cluster) OnNodes(listener NodeListener) { c.listeners.nodes = listener }

// handle says who is told of which event, and in which order: first the requests that wait for it, then the listener to
// nodes, then the queue of attachments. So a worker finds the listener told already.
func (c *Cluster) handle() (err error) {
	if _, err = c.attachments.AddTypedEventHandler(storageinformers.VolumeAttachmentHandlerFuncs{
		AddFunc:    c.attachmentChanged,
		UpdateFunc: func(_, attachment *storagev1.VolumeAttachment) { c.attachmentChanged(attachment) },
		DeleteFunc: c.attachmentDeleted,
	}); err != nil {
		return fmt.Errorf("handle attachment events: %w", err)
	}
	if _, err = c.volumes.AddTypedEventHandler(coreinformers.PersistentVolumeHandlerFuncs{AddFunc: c.volumeAdded}); err != nil {
		return fmt.Errorf("handle PersistentVolume events: %w", err)
	}
	c.nodeEvents, err = c.nodes.AddTypedEventHandler(coreinformers.NodeHandlerFuncs{
		AddFunc:    c.nodeAdded,
		UpdateFunc: c.nodeUpdated,
		DeleteFunc: c.nodeDeleted,
	})
	if err != nil {
		return fmt.Errorf("handle node events: %w", err)
	}
	return nil
}

func (c *Cluster) attachmentChanged(attachment *storagev1.VolumeAttachment) {
	if c.ours(attachment) {
		c.wake(attachment)
		c.listeners.enqueue(attachment.Name)
	}
}

func (c *Cluster) attachmentDeleted(deleted storageinformers.DeletedVolumeAttachment) {
	if attachment := deleted.OptionalObj; attachment != nil && c.ours(attachment) {
		c.wake(attachment)
		c.pods.stopWaiting(attachment.Spec.NodeName, attachment.Name)
	}
}

// volumeAdded enqueues attachments that were seen before their PersistentVolume, and so could not be judged.
func (c *Cluster) volumeAdded(volume *corev1.PersistentVolume) {
	c.enqueue(c.attachmentsOf(volume.Name))
}

func (c *Cluster) nodeAdded(node *corev1.Node) {
	c.listeners.nodes.Appeared(node.Name)
	c.pods.stop(node.Name)
	c.enqueue(c.attachmentsOn(node.Name))
}

func (c *Cluster) nodeUpdated(old, node *corev1.Node) {
	anotherMachine := machineOf(old) != machineOf(node)
	if anotherMachine {
		c.wakeAttached(node.Name)
	}
	if anotherMachine || !slices.Equal(old.Status.VolumesInUse, node.Status.VolumesInUse) {
		c.enqueue(c.attachmentsOn(node.Name))
	}
}

func (c *Cluster) nodeDeleted(deleted coreinformers.DeletedNode) {
	name := deleted.GetObjectName().Name
	c.wakeAttached(name)
	c.listeners.nodes.Vanished(name)
	c.enqueue(c.attachmentsOn(name))
}

func (c *Cluster) enqueue(attachmentNames []string) {
	for _, name := range attachmentNames {
		c.listeners.enqueue(name)
	}
}

// WaitForNodes returns once the caches have been filled and the listener was called for every node in them, or with an
// error when ctx ends before that.
func (c *Cluster) WaitForNodes(ctx context.Context) error {
	if !cache.WaitForCacheSync(ctx.Done(), c.Synced, c.nodeEvents.HasSynced) {
		return fmt.Errorf("%w: %w", errNotSynced, ctx.Err())
	}
	return nil
}
