package attach

import "context"

// What this package needs of Kubernetes; *informers.Cluster is all of it. Cached answers come from informers and cost
// nothing; live ones ask the API server. All methods are safe for concurrent use.

// LiveCluster asks the API server for one object.
type LiveCluster interface {
	LiveNode(ctx context.Context, name string) Answer[Node]
	LiveAttachment(ctx context.Context, name string) Answer[Attachment]
}

// Cluster is what the reconciler needs.
type Cluster interface {
	LiveCluster
	// WaitForSync returns once the caches have been filled, or with an error when ctx ends before that.
	WaitForSync(ctx context.Context) error
	// CachedAttachments lists the names of this driver's attachments.
	CachedAttachments() []string
	// CachedAttachment returns one of this driver's attachments.
	CachedAttachment(name string) (Attachment, bool)
	CachedNode(name string) (Node, bool)
	// PodsUsing lists the pods on the attachment's node that use its volume and haven't ended. As long as there are any, the
	// attachment is enqueued again whenever one of that node's pods changes.
	PodsUsing(ctx context.Context, attachment Attachment) ([]string, error)
	// DeleteAttachment deletes exactly the version of the attachment that was seen. If it has changed or is gone, nothing is
	// deleted and the error is ErrChanged.
	DeleteAttachment(ctx context.Context, attachment Attachment) error
}

// PublishCluster is what publishing and unpublishing need.
type PublishCluster interface {
	LiveCluster
	// Synced reports whether the caches have been filled.
	Synced() bool
	CachedNode(name string) (Node, bool)
	// AwaitAttachment returns an attachment as soon as the cache has it, or false when ctx ends.
	AwaitAttachment(ctx context.Context, name string) (Attachment, bool)
	// CachedAttachmentsOf lists the attachments of a volume.
	CachedAttachmentsOf(volumeHandle string) []Attachment
	// AttachmentsChanged returns a channel that is closed at the next event about an attachment of the volume or its node.
	AttachmentsChanged(volumeHandle string) <-chan struct{}
	// LiveAttachmentsOf asks the API server for every attachment of a volume, also those that aren't in the cache yet.
	LiveAttachmentsOf(ctx context.Context, volumeHandle string) ([]Attachment, error)
}

// AuditCluster is what the auditor needs.
type AuditCluster interface {
	LiveCluster
	// WaitForSync returns once the caches have been filled, or with an error when ctx ends before that.
	WaitForSync(ctx context.Context) error
	// CachedClaims returns what the caches have, LiveClaims what the API server itself has now.
	CachedClaims() Claims
	LiveClaims(ctx context.Context) (Claims, error)
}
