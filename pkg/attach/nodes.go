package attach

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// attachmentWait is how long a publish request waits for its own VolumeAttachment to reach the cache. The attachment
// was created before external-attacher sent the request, so the cache has it soon.
const attachmentWait = 3 * time.Second

// Admission is the result of Admit.
type Admission struct {
	// Attached is set if Kubernetes considers the volume attached to the node already.
	Attached bool
}

// Nodes answers what publishing and unpublishing ask about nodes, from Kubernetes. Before it refuses a node or judges a
// holder, it asks the API server itself. It is safe for concurrent use.
type Nodes struct {
	driver  string
	cluster PublishCluster
	paused  func() bool
}

// NewNodes returns the Nodes of a cluster. driver is the CSI driver's name. While paused returns true, no holder counts
// as gone, since too many nodes vanished at once. paused must not block.
func NewNodes(driver string, cluster PublishCluster, paused func() bool) *Nodes {
	return &Nodes{driver: driver, cluster: cluster, paused: paused}
}

// Admit checks that the node exists, is this very machine, is its only Node and isn't leaving, and that the volume's
// attachment to it isn't being deleted. It waits up to 3 s for the attachment. Errors: ErrUnknown (also as
// DuplicateMachineError), ErrNoNode, ErrLeaving, ErrSuperseded.
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

// admitNode checks the node itself. It asks the API server only if the cache can't confirm the node, or has another Node
// of the same machine.
func (n *Nodes) admitNode(ctx context.Context, node NodeID) error {
	known, found := n.cluster.CachedNode(node.Name)
	if !found || known.Machine != node.Machine || IsPlaceholder(node.Machine) {
		live := n.cluster.LiveNode(ctx, node.Name)
		switch {
		case live.Err != nil:
			return fmt.Errorf("%w: %w", ErrUnknown, live.Err)
		case !live.Found:
			return fmt.Errorf("%w: %s", ErrNoNode, node.Name)
		case live.Value.Machine == "":
			return fmt.Errorf("%w: Node %s reports no identity (status.nodeInfo.systemUUID or machineID)", ErrUnknown, node.Name)
		case IsPlaceholder(live.Value.Machine):
			return fmt.Errorf("%w: Node %s reports machine %q (status.nodeInfo.systemUUID or machineID), and that is a placeholder which many machines report; give the machine a UUID in its firmware or an /etc/machine-id of its own, and restart kubelet",
				ErrUnknown, node.Name, live.Value.Machine)
		case live.Value.Machine != node.Machine:
			return fmt.Errorf("%w: Node %s reports machine %q, the request is for machine %q; compare --machine-id of the node plugin there", ErrUnknown, node.Name, live.Value.Machine, node.Machine)
		}
		known = live.Value
	}
	if known.Leaving {
		return fmt.Errorf("%w: Node %s is being deleted or has the taint node.kubernetes.io/out-of-service", ErrLeaving, node.Name)
	}
	return n.admitMachine(ctx, node)
}

// admitMachine returns a DuplicateMachineError if another Node reports the same machine. What is known of a holder is
// known of a Node, and with two Nodes of one machine, the deletion of one would count as the machine's death.
func (n *Nodes) admitMachine(ctx context.Context, node NodeID) error {
	nodes := []string{node.Name}
	for _, other := range n.cluster.CachedNodesOfMachine(node.Machine) {
		if other == node.Name {
			continue
		}
		live := n.cluster.LiveNode(ctx, other)
		if live.Err != nil {
			return fmt.Errorf("%w: whether Node %s is machine %q as well as Node %s: %w", ErrUnknown, other, node.Machine, node.Name, live.Err)
		}
		if live.Found && live.Value.Machine == node.Machine {
			nodes = append(nodes, other)
		}
	}
	if len(nodes) == 1 {
		return nil
	}
	slices.Sort(nodes)
	return &DuplicateMachineError{Machine: node.Machine, Nodes: nodes}
}

// HolderStates returns the state of each holder of the volume, in the same order, from live answers.
func (n *Nodes) HolderStates(ctx context.Context, volumeHandle string, holders []NodeID) []Holder {
	states := make([]Holder, 0, len(holders))
	for _, id := range holders {
		node, attachment := n.liveAnswers(ctx, volumeHandle, id.Name)
		holder := Judge(id, volumeHandle, node, attachment)
		if holder.State == HolderGone && n.paused() {
			holder.State = HolderGonePaused
		}
		states = append(states, holder)
	}
	return states
}

// StoppedUsing reports whether the node's machine has provably stopped using the volume, from live answers.
func (n *Nodes) StoppedUsing(ctx context.Context, volumeHandle string, id NodeID) bool {
	node, attachment := n.liveAnswers(ctx, volumeHandle, id.Name)
	return stoppedUsing(id, volumeHandle, node, attachment)
}

// liveAnswers asks the API server for a Node and, if the Node exists, for the volume's attachment to it.
func (n *Nodes) liveAnswers(ctx context.Context, volumeHandle, nodeName string) (node Answer[Node], attachment Answer[Attachment]) {
	if node = n.cluster.LiveNode(ctx, nodeName); node.Found {
		attachment = n.cluster.LiveAttachment(ctx, AttachmentName(volumeHandle, n.driver, nodeName))
	}
	return node, attachment
}

// Granted returns the newest grant that any cached attachment of the volume carries: the one of the highest generation. It
// is zero if there is none.
func (n *Nodes) Granted(volumeHandle string) Grant {
	var newest Grant
	for _, attachment := range n.cluster.CachedAttachmentsOf(volumeHandle) {
		if attachment.Grant.Generation > newest.Generation {
			newest = attachment.Grant
		}
	}
	return newest
}

// OthersGranted returns the nodes that aren't holders in the record, but whose cached attachment carries the record's epoch
// and isn't detaching. A restored etcd backup brings such attachments back, and the appliance admits their hosts.
func (n *Nodes) OthersGranted(volumeHandle string, record Record) []NodeID {
	var others []NodeID
	for _, attachment := range n.cluster.CachedAttachmentsOf(volumeHandle) {
		grant := attachment.Grant
		if grant.SubsystemNQN == record.SubsystemNQN && !attachment.Detaching() && !slices.Contains(record.Holders, grant.Node) {
			others = append(others, grant.Node)
		}
	}
	return others
}

// Grants returns the valid grants of the volume, from live answers. It reads every attachment that the cache has. If
// none of them has a valid grant, it lists all attachments, since the newest may not be in the cache yet. Its error is
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
	grants, err := n.validGrants(ctx, volumeHandle, attachments)
	if err != nil || len(grants) > 0 {
		return grants, err
	}
	if attachments, err = n.cluster.LiveAttachmentsOf(ctx, volumeHandle); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	return n.validGrants(ctx, volumeHandle, attachments)
}

// validGrants returns the grants of those attachments that are attached, not detaching, and whose machine lives. The
// attachments must be live answers.
func (n *Nodes) validGrants(ctx context.Context, volumeHandle string, attachments []Attachment) ([]Grant, error) {
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
func (n *Nodes) Changed(ctx context.Context, volumeHandle string) <-chan struct{} {
	return n.cluster.AttachmentsChanged(ctx, volumeHandle)
}
