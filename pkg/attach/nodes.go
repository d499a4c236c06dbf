package attach

import (
	"context"
	"fmt"
	"time"
)

// attachmentWait is how long a publish request waits for its own VolumeAttachment to reach the cache. Both come from the
// same API server within moments of each other.
const attachmentWait = 3 * time.Second

// Admission is what admitting a node showed.
type Admission struct {
	// Attached is set if Kubernetes believes the volume to be attached to the node already.
	Attached bool
}

// Nodes answers what publishing and unpublishing need to know of nodes, from Kubernetes. Before it refuses a node or judges
// a holder, it asks the API server itself. It is safe for concurrent use.
type Nodes struct {
	driver  string
	cluster PublishCluster
	paused  func() bool
}

// NewNodes asks this cluster about the volumes of the CSI driver of this name. While paused returns true, so many nodes
// vanished at once that no holder counts as gone; it must not block.
func NewNodes(driver string, cluster PublishCluster, paused func() bool) *Nodes {
	return &Nodes{driver: driver, cluster: cluster, paused: paused}
}

// Admit checks that the node exists, is this very machine, isn't leaving, and that Kubernetes still wants the volume
// attached to it. Errors: ErrUnknown, ErrNoNode, ErrLeaving, ErrSuperseded.
func (n *Nodes) Admit(ctx context.Context, volumeHandle string, node NodeID) (Admission, error) {
	if !n.cluster.Synced() {
		return Admission{}, fmt.Errorf("%w: the caches of nodes and attachments are not filled yet", ErrUnknown)
	}
	if err := n.admitNode(ctx, node); err != nil {
		return Admission{}, err
	}
	name := AttachmentName(volumeHandle, n.driver, node.Name)
	waiting, cancel := context.WithTimeout(ctx, attachmentWait)
	defer cancel()
	attachment, found := n.cluster.AwaitAttachment(waiting, name)
	switch {
	case !found:
		return Admission{}, fmt.Errorf("%w: VolumeAttachment %s of volume %s to node %s is not in the cache", ErrUnknown, name, volumeHandle, node.Name)
	case attachment.Detaching():
		return Admission{}, fmt.Errorf("%w: VolumeAttachment %s is being deleted", ErrSuperseded, name)
	}
	return Admission{Attached: attachment.Attached}, nil
}

func (n *Nodes) admitNode(ctx context.Context, node NodeID) error {
	known, found := n.cluster.CachedNode(node.Name)
	if !found || known.Machine != node.Machine {
		live := n.cluster.LiveNode(ctx, node.Name)
		switch {
		case live.Err != nil:
			return fmt.Errorf("%w: %w", ErrUnknown, live.Err)
		case !live.Found:
			return fmt.Errorf("%w: %s", ErrNoNode, node.Name)
		case live.Value.Machine == "":
			return fmt.Errorf("%w: Node %s reports no identity (status.nodeInfo.systemUUID or machineID)", ErrUnknown, node.Name)
		case live.Value.Machine != node.Machine:
			return fmt.Errorf("%w: Node %s reports machine %q, the request is for machine %q; compare --machine-id of the node plugin there", ErrUnknown, node.Name, live.Value.Machine, node.Machine)
		}
		known = live.Value
	}
	if known.Leaving {
		return fmt.Errorf("%w: Node %s is being deleted or has the taint node.kubernetes.io/out-of-service", ErrLeaving, node.Name)
	}
	return nil
}

// HolderStates asks the API server about each holder's Node and attachment.
func (n *Nodes) HolderStates(ctx context.Context, volumeHandle string, holders []NodeID) []Holder {
	states := make([]Holder, 0, len(holders))
	for _, id := range holders {
		node, attachment := n.ask(ctx, volumeHandle, id.Name)
		holder := Judge(id, volumeHandle, node, attachment)
		if holder.State == HolderGone && n.paused() {
			holder.State = HolderGonePaused
		}
		states = append(states, holder)
	}
	return states
}

// StoppedUsing asks the API server whether the node's machine is proven not to use the volume any more.
func (n *Nodes) StoppedUsing(ctx context.Context, volumeHandle string, id NodeID) bool {
	node, attachment := n.ask(ctx, volumeHandle, id.Name)
	return stoppedUsing(id, volumeHandle, node, attachment)
}

// ask asks the API server for a Node and, if it exists, for the volume's attachment to it.
func (n *Nodes) ask(ctx context.Context, volumeHandle, nodeName string) (node Answer[Node], attachment Answer[Attachment]) {
	if node = n.cluster.LiveNode(ctx, nodeName); node.Found {
		attachment = n.cluster.LiveAttachment(ctx, AttachmentName(volumeHandle, n.driver, nodeName))
	}
	return node, attachment
}

// Granted returns the highest generation that a cached attachment of the volume carries, 0 if none does.
func (n *Nodes) Granted(volumeHandle string) uint64 {
	var highest uint64
	for _, attachment := range n.cluster.CachedAttachmentsOf(volumeHandle) {
		highest = max(highest, attachment.Grant.Generation)
	}
	return highest
}

// Grants returns the grants that living machines have by right. It asks the API server about every attachment of the volume
// that the cache has. If that finds none, it lists all attachments: the newest may not be in the cache yet. Its error is
// ErrUnknown.
func (n *Nodes) Grants(ctx context.Context, volumeHandle string) ([]Grant, error) {
	var attachments []Attachment
	for _, cached := range n.cluster.CachedAttachmentsOf(volumeHandle) {
		attachment := n.cluster.LiveAttachment(ctx, cached.Name)
		if attachment.Err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUnknown, attachment.Err)
		}
		if attachment.Found {
			attachments = append(attachments, attachment.Value)
		}
	}
	grants, err := n.valid(ctx, volumeHandle, attachments)
	if err != nil || len(grants) > 0 {
		return grants, err
	}
	if attachments, err = n.cluster.LiveAttachmentsOf(ctx, volumeHandle); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	return n.valid(ctx, volumeHandle, attachments)
}

// valid returns the grants of these live attachments that a living machine has by right.
func (n *Nodes) valid(ctx context.Context, volumeHandle string, attachments []Attachment) ([]Grant, error) {
	var grants []Grant
	for _, attachment := range attachments {
		grant := attachment.Grant
		if !attachment.Attached || grant == (Grant{}) || attachment.NodeID != grant.Node.String() {
			continue
		}
		node := n.cluster.LiveNode(ctx, grant.Node.Name)
		switch Judge(grant.Node, volumeHandle, node, Answer[Attachment]{Value: attachment, Found: true}).State {
		case HolderUnknown:
			return nil, fmt.Errorf("%w: %w", ErrUnknown, node.Err)
		case HolderAttached:
			grants = append(grants, grant)
		default:
		}
	}
	return grants, nil
}

// Changed returns a channel that is closed at the next event about an attachment of the volume or its node.
func (n *Nodes) Changed(volumeHandle string) <-chan struct{} {
	return n.cluster.AttachmentsChanged(volumeHandle)
}
