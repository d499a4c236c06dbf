package informers

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/client-go/informers"
	coreinformers "k8s.io/client-go/informers/core/v1"
	storageinformers "k8s.io/client-go/informers/storage/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
)

// The names of the indexes. Nodes are indexed by the machine identity that they report. Attachments are indexed by the
// names of their node and their PersistentVolume, and PersistentVolumes by their handle; only those of this driver.
const (
	indexByMachine = "machine"
	indexByNode    = "node"
	indexByPV      = "pv"
	indexByHandle  = "handle"
)

// errNotSynced: ctx ended before the caches were filled.
var errNotSynced = errors.New("the caches are not filled yet")

// Cluster implements the interfaces of package attach to Kubernetes. It is safe for concurrent use.
type Cluster struct {
	client      kubernetes.Interface
	driver      string
	factory     informers.SharedInformerFactory
	nodes       coreinformers.NodeIndexInformer
	attachments storageinformers.VolumeAttachmentIndexInformer
	volumes     coreinformers.PersistentVolumeIndexInformer
	waiters     *waiters
	pods        *podWatches
	listeners   listeners
	// nodeEvents has synced when the node listener was called for every node that existed from the start.
	nodeEvents cache.ResourceEventHandlerRegistration
}

// New returns a cluster. driver is the CSI driver's name. It sends no request before Run.
func New(client kubernetes.Interface, driver string) (*Cluster, error) {
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(trim{driver: driver}.object))
	c := &Cluster{
		client:      client,
		driver:      driver,
		factory:     factory,
		nodes:       factory.Core().V1().Nodes().TypedInformer(),
		attachments: factory.Storage().V1().VolumeAttachments().TypedInformer(),
		volumes:     factory.Core().V1().PersistentVolumes().TypedInformer(),
		waiters:     newWaiters(),
		listeners:   listeners{enqueue: func(string) {}},
	}
	c.pods = newPodWatches(client, func(attachmentName string) { c.listeners.enqueue(attachmentName) })
	if err := c.index(); err != nil {
		return nil, err
	}
	if err := c.handle(); err != nil {
		return nil, err
	}
	return c, nil
}

// index adds the indexes.
func (c *Cluster) index() error {
	nodes := cache.TypedIndexers[*corev1.Node]{indexByMachine: func(node *corev1.Node) ([]string, error) {
		return []string{machineOf(node)}, nil
	}}
	if err := c.nodes.AddTypedIndexers(nodes); err != nil {
		return fmt.Errorf("index nodes: %w", err)
	}
	attachments := cache.TypedIndexers[*storagev1.VolumeAttachment]{
		indexByNode: c.ifOurs(func(attachment *storagev1.VolumeAttachment) string { return attachment.Spec.NodeName }),
		indexByPV:   c.ifOurs(pvOf),
	}
	if err := c.attachments.AddTypedIndexers(attachments); err != nil {
		return fmt.Errorf("index attachments: %w", err)
	}
	volumes := cache.TypedIndexers[*corev1.PersistentVolume]{indexByHandle: func(volume *corev1.PersistentVolume) ([]string, error) {
		if handle := c.handleOf(volume); handle != "" {
			return []string{handle}, nil
		}
		return nil, nil
	}}
	if err := c.volumes.AddTypedIndexers(volumes); err != nil {
		return fmt.Errorf("index PersistentVolumes: %w", err)
	}
	return nil
}

// Run keeps the caches up to date until ctx ends, and returns nil when everything that it started has ended. It is
// called once.
func (c *Cluster) Run(ctx context.Context) error {
	c.factory.StartWithContext(ctx)
	<-ctx.Done()
	c.pods.stopAll()
	c.factory.Shutdown()
	return nil
}

// WaitForSync returns once the caches have been filled, or with an error when ctx ends before that.
func (c *Cluster) WaitForSync(ctx context.Context) error {
	if !cache.WaitForCacheSync(ctx.Done(), c.Synced) {
		return fmt.Errorf("%w: %w", errNotSynced, ctx.Err())
	}
	return nil
}

// Synced reports whether the caches have been filled. Until then, an object that they don't have may exist.
func (c *Cluster) Synced() bool {
	return c.nodes.HasSynced() && c.attachments.HasSynced() && c.volumes.HasSynced()
}

// CachedAttachments returns the names of this driver's attachments.
func (c *Cluster) CachedAttachments() []string {
	var names []string
	for _, node := range c.NodesAttached() {
		names = append(names, c.attachmentsOn(node)...)
	}
	return names
}

// CachedAttachment returns one of this driver's attachments.
func (c *Cluster) CachedAttachment(name string) (attach.Attachment, bool) {
	attachment, err := c.factory.Storage().V1().VolumeAttachments().Lister().Get(name)
	if err != nil || !c.ours(attachment) {
		return attach.Attachment{}, false
	}
	return c.attachmentOf(attachment), true
}

// CachedAttachmentsOf returns this driver's attachments of a volume.
func (c *Cluster) CachedAttachmentsOf(handle string) []attach.Attachment {
	var attachments []attach.Attachment
	for _, pv := range c.pvsOf(handle) {
		objects, _ := c.attachments.GetTypedIndexer().ByTypedIndex(indexByPV, pv)
		for _, object := range objects {
			attachments = append(attachments, c.attachmentOf(object))
		}
	}
	return attachments
}

// CachedNode returns a node.
func (c *Cluster) CachedNode(name string) (attach.Node, bool) {
	node, err := c.factory.Core().V1().Nodes().Lister().Get(name)
	if err != nil {
		return attach.Node{}, false
	}
	return c.nodeOf(node), true
}

// CachedNodesOfMachine returns the names of the nodes that report this machine identity.
func (c *Cluster) CachedNodesOfMachine(machine string) []string {
	// Only an unknown index is an error. The objects have no namespace, so their keys are their names.
	names, _ := c.nodes.GetTypedIndexer().IndexKeys(indexByMachine, machine)
	return names
}

// NodesAttached returns the names of the nodes that this driver's attachments name, even of those that don't exist.
func (c *Cluster) NodesAttached() []string {
	return c.attachments.GetTypedIndexer().ListIndexFuncValues(indexByNode)
}

// attachmentsOn returns the names of this driver's attachments to a node.
func (c *Cluster) attachmentsOn(nodeName string) []string {
	// Only an unknown index is an error. The objects have no namespace, so their keys are their names.
	names, _ := c.attachments.GetTypedIndexer().IndexKeys(indexByNode, nodeName)
	return names
}

// attachmentsOf returns the names of this driver's attachments of a PersistentVolume.
func (c *Cluster) attachmentsOf(pv string) []string {
	names, _ := c.attachments.GetTypedIndexer().IndexKeys(indexByPV, pv)
	return names
}

// pvsOf returns the names of this driver's PersistentVolumes with this handle: one, unless somebody created a second by
// hand.
func (c *Cluster) pvsOf(handle string) []string {
	names, _ := c.volumes.GetTypedIndexer().IndexKeys(indexByHandle, handle)
	return names
}

// ifOurs returns an index function for this driver's attachments. An attachment with an empty key isn't indexed.
func (c *Cluster) ifOurs(keyOf func(*storagev1.VolumeAttachment) string) func(*storagev1.VolumeAttachment) ([]string, error) {
	return func(attachment *storagev1.VolumeAttachment) ([]string, error) {
		if key := keyOf(attachment); c.ours(attachment) && key != "" {
			return []string{key}, nil
		}
		return nil, nil
	}
}

// ours reports whether the attachment is of this driver.
func (c *Cluster) ours(attachment *storagev1.VolumeAttachment) bool {
	return attachment.Spec.Attacher == c.driver
}

// handleOf returns the handle of a PersistentVolume of this driver, or "" for any other.
func (c *Cluster) handleOf(volume *corev1.PersistentVolume) string {
	if volume.Spec.CSI == nil || volume.Spec.CSI.Driver != c.driver {
		return ""
	}
	return volume.Spec.CSI.VolumeHandle
}

// attachmentOf converts a VolumeAttachment. It sets the handle if the cache has the PersistentVolume.
func (c *Cluster) attachmentOf(attachment *storagev1.VolumeAttachment) attach.Attachment {
	result := attachmentOf(attachment)
	if volume, err := c.factory.Core().V1().PersistentVolumes().Lister().Get(result.PV); err == nil {
		result.Volume = c.handleOf(volume)
	}
	return result
}
