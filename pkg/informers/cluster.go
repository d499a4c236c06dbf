package informers

import (
	"context"
	"errors"
	"fmt"

	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/client-go/informers"
	coreinformers "k8s.io/client-go/informers/core/v1"
	storageinformers "k8s.io/client-go/informers/storage/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
)

// indexByNode finds this driver's attachments by the name of their node.
const indexByNode = "node"

// errNotSynced says that the caches were not filled before the caller's time was up.
var errNotSynced = errors.New("the caches are not filled yet")

// Cluster answers questions about the cluster, from caches where that is enough. It is safe for concurrent use.
type Cluster struct {
	client      kubernetes.Interface
	driver      string
	factory     informers.SharedInformerFactory
	nodes       coreinformers.NodeIndexInformer
	attachments storageinformers.VolumeAttachmentIndexInformer
	volumes     coreinformers.PersistentVolumeIndexInformer
	waiters     *waiters
	pods        *podWatches
}

// New sets up the informers for the driver of this name. Nothing is asked of the API server before Run.
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
		pods:        newPodWatches(client),
	}
	if err := c.attachments.AddTypedIndexers(cache.TypedIndexers[*storagev1.VolumeAttachment]{indexByNode: c.nodeOf}); err != nil {
		return nil, fmt.Errorf("index attachments by node: %w", err)
	}
	if _, err := c.attachments.AddTypedEventHandler(storageinformers.VolumeAttachmentHandlerFuncs{
		AddFunc:    func(attachment *storagev1.VolumeAttachment) { c.waiters.wake(attachment.Name) },
		UpdateFunc: func(_, attachment *storagev1.VolumeAttachment) { c.waiters.wake(attachment.Name) },
	}); err != nil {
		return nil, fmt.Errorf("handle attachment events: %w", err)
	}
	return c, nil
}

// Run keeps the caches up to date until ctx ends, and returns when everything it started has ended.
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

// Synced tells whether the caches have been filled; until then, what they don't have proves nothing.
func (c *Cluster) Synced() bool {
	return c.nodes.HasSynced() && c.attachments.HasSynced() && c.volumes.HasSynced()
}

// CachedAttachments lists the names of this driver's attachments.
func (c *Cluster) CachedAttachments() []string {
	var names []string
	for _, node := range c.attachments.GetTypedIndexer().ListIndexFuncValues(indexByNode) {
		names = append(names, c.attachmentsOn(node)...)
	}
	return names
}

// CachedAttachment gives one of this driver's attachments.
func (c *Cluster) CachedAttachment(name string) (attach.Attachment, bool) {
	attachment, err := c.factory.Storage().V1().VolumeAttachments().Lister().Get(name)
	if err != nil || !c.ours(attachment) {
		return attach.Attachment{}, false
	}
	return attachmentOf(attachment), true
}

// CachedNode gives one node.
func (c *Cluster) CachedNode(name string) (attach.Node, bool) {
	node, err := c.factory.Core().V1().Nodes().Lister().Get(name)
	if err != nil {
		return attach.Node{}, false
	}
	return nodeOf(node, c.driver), true
}

// attachmentsOn lists the names of this driver's attachments to a node.
func (c *Cluster) attachmentsOn(nodeName string) []string {
	// The index exists, so looking in it can't fail; these objects have no namespace, so their keys are their names.
	names, _ := c.attachments.GetTypedIndexer().IndexKeys(indexByNode, nodeName)
	return names
}

func (c *Cluster) nodeOf(attachment *storagev1.VolumeAttachment) ([]string, error) {
	if !c.ours(attachment) {
		return nil, nil
	}
	return []string{attachment.Spec.NodeName}, nil
}

func (c *Cluster) ours(attachment *storagev1.VolumeAttachment) bool {
	return attachment.Spec.Attacher == c.driver
}
