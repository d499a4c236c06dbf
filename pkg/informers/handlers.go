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

// NodeListener is called when nodes appear and vanish. Its methods must not block. *attach.Valve and *attach.Reconciler are.
type NodeListener interface {
	// Appeared is called for every node that exists from the start or is created.
	Appeared(node string)
	// Vanished is called for every node that is deleted.
	Vanished(node string)
}

// listeners are called on events. They must not block.
type listeners struct {
	// enqueue is called with the name of an attachment after an event about the attachment, its node, its
	// PersistentVolume, or a pod that it waits for.
	enqueue func(attachmentName string)
	nodes   []NodeListener
}

// OnAttachments has enqueue called with the name of an attachment after every event that may matter to it. enqueue must
// not block. OnAttachments must be called before Run.
func (c *Cluster) OnAttachments(enqueue func(attachmentName string)) { c.listeners.enqueue = enqueue }

// OnNodes has one more listener called for every node that appears or vanishes. OnNodes must be called before Run.
func (c *Cluster) OnNodes(listener NodeListener) {
	c.listeners.nodes = append(c.listeners.nodes, listener)
}

// handle adds the event handlers. Each of them first wakes the requests that wait, then calls the node listeners, and
// then enqueues attachments. So a node listener knows of an event before a worker checks an attachment.
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
		c.listeners.enqueue(attachment.Name)
	}
}

// volumeAdded enqueues the attachments that were cached before their PersistentVolume, and so could not be judged.
func (c *Cluster) volumeAdded(volume *corev1.PersistentVolume) {
	c.enqueue(c.attachmentsOf(volume.Name))
}

func (c *Cluster) nodeAdded(node *corev1.Node) {
	for _, listener := range c.listeners.nodes {
		listener.Appeared(node.Name)
	}
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
	for _, listener := range c.listeners.nodes {
		listener.Vanished(name)
	}
	c.enqueue(c.attachmentsOn(name))
}

func (c *Cluster) enqueue(attachmentNames []string) {
	for _, name := range attachmentNames {
		c.listeners.enqueue(name)
	}
}

// WaitForNodes returns once the caches have been filled and the listeners were called for every node in them, or with an
// error when ctx ends before that.
func (c *Cluster) WaitForNodes(ctx context.Context) error {
	if !cache.WaitForCacheSync(ctx.Done(), c.Synced, c.nodeEvents.HasSynced) {
		return fmt.Errorf("%w: %w", errNotSynced, ctx.Err())
	}
	return nil
}
