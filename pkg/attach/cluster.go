package attach

import "context"

// The interfaces to Kubernetes. *informers.Cluster implements all of them. Methods named Cached… answer from informers,
// methods named Live… ask the API server. All methods are safe for concurrent use.

// LiveCluster asks the API server for one object.
type LiveCluster interface {
	LiveNode(ctx context.Context, name string) Answer[Node]
	LiveAttachment(ctx context.Context, name string) Answer[Attachment]
}

// Cluster is what the reconciler needs of Kubernetes.
type Cluster interface {
	LiveCluster
	// WaitForSync returns once the caches have been filled, or with an error when ctx ends before that.
	WaitForSync(ctx context.Context) error
	// CachedAttachments returns the names of this driver's attachments.
	CachedAttachments() []string
	// CachedAttachment returns one of this driver's attachments.
	CachedAttachment(name string) (Attachment, bool)
	// CachedAttachmentsOf returns the attachments of a volume.
	CachedAttachmentsOf(volumeHandle string) []Attachment
	CachedNode(name string) (Node, bool)
	// PodsUsing returns the pods on the attachment's node that use its volume and haven't ended, as namespace/name. While
	// there are any, the attachment is enqueued again whenever one of that node's pods changes.
	PodsUsing(ctx context.Context, attachment Attachment) ([]string, error)
	// DeleteAttachment deletes exactly the version of the attachment that was read. It returns ErrChanged, and deletes
	// nothing, if the attachment has changed or is gone.
	DeleteAttachment(ctx context.Context, attachment Attachment) error
}

// PublishCluster is what publishing and unpublishing need of Kubernetes.
type PublishCluster interface {
	LiveCluster
	// Synced reports whether the caches have been filled.
	Synced() bool
	CachedNode(name string) (Node, bool)
	// CachedNodesOfMachine returns the names of the nodes that report this machine identity.
	CachedNodesOfMachine(machine string) []string
	// AwaitAttachment returns an attachment as soon as the cache has it, or false when ctx ends.
	AwaitAttachment(ctx context.Context, name string) (Attachment, bool)
	// CachedAttachmentsOf returns the attachments of a volume.
	CachedAttachmentsOf(volumeHandle string) []Attachment
	// AttachmentsChanged returns a channel that is closed at the next event about an attachment of the volume or its node. It
	// is of no use after ctx has ended.
	AttachmentsChanged(ctx context.Context, volumeHandle string) <-chan struct{}
	// LiveAttachmentsOf lists every attachment of a volume, including those that aren't in the cache yet.
	LiveAttachmentsOf(ctx context.Context, volumeHandle string) ([]Attachment, error)
}

// AuditCluster is what the auditor needs of Kubernetes.
type AuditCluster interface {
	LiveCluster
	// WaitForSync returns once the caches have been filled, or with an error when ctx ends before that.
	WaitForSync(ctx context.Context) error
	// CachedClaims returns what the caches have. LiveClaims lists what the API server has.
	CachedClaims() Claims
	LiveClaims(ctx context.Context) (Claims, error)
}
