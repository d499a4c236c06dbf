package attach

import "context"

// Cluster is what the reconciler needs of Kubernetes. Cached answers come from informers and cost nothing; live ones ask
// the API server. All methods are safe for concurrent use.
type Cluster interface {
	// WaitForSync returns once the caches have been filled, or with an error when ctx ends before that.
	WaitForSync(ctx context.Context) error
	// CachedAttachments lists the names of this driver's attachments.
	CachedAttachments() []string
	// CachedAttachment gives one of this driver's attachments.
	CachedAttachment(name string) (Attachment, bool)
	// CachedNode gives one node.
	CachedNode(name string) (Node, bool)
	// LiveNode and LiveAttachment ask the API server.
	LiveNode(ctx context.Context, name string) Answer[Node]
	LiveAttachment(ctx context.Context, name string) Answer[Attachment]
	// PodsUsing lists the pods on the attachment's node that use its volume and haven't ended. As long as there are any, the
	// attachment is enqueued again whenever one of that node's pods changes.
	PodsUsing(ctx context.Context, attachment Attachment) ([]string, error)
	// DeleteAttachment deletes exactly the version of the attachment that was seen. If it has changed or is gone, nothing is
	// deleted and the error is ErrChanged.
	DeleteAttachment(ctx context.Context, attachment Attachment) error
}

// Appliance is what the reconciler needs of the appliance. All methods are safe for concurrent use.
type Appliance interface {
	// Refresh reads every record at once, so that SeenRecord is up to date for a moment. After an error it is only for some.
	Refresh(ctx context.Context) error
	// SeenRecord gives the record of a volume as it was last seen, at no cost; it proves nothing.
	SeenRecord(volume string) (Record, bool)
	// Record reads the record of a volume. Not found means that the volume is proven not to exist.
	Record(ctx context.Context, volume string) Answer[Record]
	// Restore gives a volume back to whom it was granted to last, if the appliance went back in time or lost its export.
	Restore(ctx context.Context, volume string) error
}
