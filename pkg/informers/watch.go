package informers

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	coreinformers "k8s.io/client-go/informers/core/v1"
	storageinformers "k8s.io/client-go/informers/storage/v1"
)

// Watch has enqueue called with the name of every attachment that something happened to: itself, its node, or a pod
// that it waits for. It is called once, before Run; enqueue must not block.
func (c *Cluster) Watch(enqueue func(attachmentName string)) error {
	enqueueNode := func(nodeName string) {
		for _, name := range c.attachmentsOn(nodeName) {
			enqueue(name)
		}
	}
	c.pods.onChange = enqueue
	attachmentChanged := func(attachment *storagev1.VolumeAttachment) {
		if c.ours(attachment) {
			enqueue(attachment.Name)
		}
	}
	if _, err := c.attachments.AddTypedEventHandler(storageinformers.VolumeAttachmentHandlerFuncs{
		AddFunc:    attachmentChanged,
		UpdateFunc: func(_, attachment *storagev1.VolumeAttachment) { attachmentChanged(attachment) },
		DeleteFunc: func(deleted storageinformers.DeletedVolumeAttachment) { c.attachmentGone(deleted) },
	}); err != nil {
		return fmt.Errorf("handle attachment events: %w", err)
	}
	if _, err := c.volumes.AddTypedEventHandler(coreinformers.PersistentVolumeHandlerFuncs{
		// An attachment that was seen before its PersistentVolume could not be judged.
		AddFunc: func(volume *corev1.PersistentVolume) {
			for _, name := range c.attachmentsOf(volume.Name) {
				enqueue(name)
			}
		},
	}); err != nil {
		return fmt.Errorf("handle PersistentVolume events: %w", err)
	}
	if _, err := c.nodes.AddTypedEventHandler(coreinformers.NodeHandlerFuncs{
		AddFunc: func(node *corev1.Node) {
			c.pods.stop(node.Name)
			enqueueNode(node.Name)
		},
		UpdateFunc: func(old, node *corev1.Node) {
			if machineOf(old) != machineOf(node) || !slices.Equal(old.Status.VolumesInUse, node.Status.VolumesInUse) {
				enqueueNode(node.Name)
			}
		},
		DeleteFunc: func(deleted coreinformers.DeletedNode) { enqueueNode(deleted.GetObjectName().Name) },
	}); err != nil {
		return fmt.Errorf("handle node events: %w", err)
	}
	return nil
}

// attachmentGone notes that an attachment waits for no pods any more.
func (c *Cluster) attachmentGone(deleted storageinformers.DeletedVolumeAttachment) {
	if deleted.OptionalObj != nil && c.ours(deleted.OptionalObj) {
		c.pods.release(deleted.OptionalObj.Spec.NodeName, deleted.OptionalObj.Name)
	}
}
