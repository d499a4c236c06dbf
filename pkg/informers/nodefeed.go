package informers

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	coreinformers "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/tools/cache"
)

// NodeFeed is told of every node once when it appears, those that are there from the start included, and once when it
// vanishes. *attach.Valve is one.
type NodeFeed interface {
	Appeared(node string)
	Vanished(node string)
}

// FeedNodes has feed told of nodes. It is called once, before Run; feed must not block. filled returns once the caches
// have been filled and feed was told of every node in them, or with an error when ctx ends before that.
//
// The feed runs beside the handlers of Watch, not before them. A worker that asks the API server about a node before it
// asks the feed finds there whatever was told of in the same breath.
func (c *Cluster) FeedNodes(feed NodeFeed) (filled func(ctx context.Context) error, err error) {
	handler, err := c.nodes.AddTypedEventHandler(coreinformers.NodeHandlerFuncs{
		AddFunc:    func(node *corev1.Node) { feed.Appeared(node.Name) },
		DeleteFunc: func(deleted coreinformers.DeletedNode) { feed.Vanished(deleted.GetObjectName().Name) },
	})
	if err != nil {
		return nil, fmt.Errorf("handle node events: %w", err)
	}
	return func(ctx context.Context) error {
		if !cache.WaitForCacheSync(ctx.Done(), c.Synced, handler.HasSynced) {
			return fmt.Errorf("%w: %w", errNotSynced, ctx.Err())
		}
		return nil
	}, nil
}

// NodesAttached lists the names of the nodes that this driver's attachments name, whether they exist or not.
func (c *Cluster) NodesAttached() []string {
	return c.attachments.GetTypedIndexer().ListIndexFuncValues(indexByNode)
}
