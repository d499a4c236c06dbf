package csi

import (
	"context"
	"fmt"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
)

// attachmentWait is how long a publish request waits for its own VolumeAttachment to reach the cache. Both come from the
// same API server within moments of each other.
const attachmentWait = 3 * time.Second

// Kubernetes is what can be asked about the cluster; *informers.Cluster is one.
type Kubernetes interface {
	// Synced tells whether the caches have been filled.
	Synced() bool
	CachedNode(name string) (attach.Node, bool)
	// AwaitAttachment gives an attachment as soon as the cache has it, or false when ctx ends.
	AwaitAttachment(ctx context.Context, name string) (attach.Attachment, bool)
	// CachedAttachmentsOf lists the attachments of a volume.
	CachedAttachmentsOf(volumeID string) []attach.Attachment
	// AttachmentsChanged gives a channel that is closed at the next event about an attachment of the volume or its node.
	AttachmentsChanged(volumeID string) <-chan struct{}
	LiveNode(ctx context.Context, name string) attach.Answer[attach.Node]
	LiveAttachment(ctx context.Context, name string) attach.Answer[attach.Attachment]
	// LiveAttachmentsOf asks the API server for every attachment of a volume, also those that the cache hasn't heard of yet.
	LiveAttachmentsOf(ctx context.Context, volumeID string) ([]attach.Attachment, error)
}

// KubernetesNodes answers from Kubernetes. What it denies or finds gone, it has asked the API server about.
type KubernetesNodes struct {
	cluster Kubernetes
	held    func() bool
}

// NewKubernetesNodes asks this cluster. While held returns true, so many nodes vanished at once that none of them counts
// as gone; it must not block.
func NewKubernetesNodes(cluster Kubernetes, held func() bool) *KubernetesNodes {
	return &KubernetesNodes{cluster: cluster, held: held}
}

// Admit checks that the node exists, is this very machine, isn't leaving, and that Kubernetes still wants the volume
// attached to it.
func (n *KubernetesNodes) Admit(ctx context.Context, volumeID string, node attach.NodeID) (Admission, error) {
	if !n.cluster.Synced() {
		return Admission{}, fmt.Errorf("%w: the caches of nodes and attachments are not filled yet", attach.ErrUnknown)
	}
	if err := n.admitNode(ctx, node); err != nil {
		return Admission{}, err
	}
	name := attach.AttachmentName(volumeID, DriverName, node.Name)
	waiting, cancel := context.WithTimeout(ctx, attachmentWait)
	defer cancel()
	attachment, found := n.cluster.AwaitAttachment(waiting, name)
	switch {
	case !found:
		return Admission{}, fmt.Errorf("%w: VolumeAttachment %s of volume %s to node %s is not in the cache", attach.ErrUnknown, name, volumeID, node.Name)
	case attachment.Detaching():
		return Admission{}, fmt.Errorf("%w: VolumeAttachment %s is being deleted", attach.ErrSuperseded, name)
	}
	return Admission{Attached: attachment.Attached}, nil
}

func (n *KubernetesNodes) admitNode(ctx context.Context, node attach.NodeID) error {
	known, found := n.cluster.CachedNode(node.Name)
	if !found || known.Machine != node.Machine {
		live := n.cluster.LiveNode(ctx, node.Name)
		switch {
		case live.Err != nil:
			return fmt.Errorf("%w: %w", attach.ErrUnknown, live.Err)
		case !live.Found:
			return fmt.Errorf("%w: %s", attach.ErrNoNode, node.Name)
		case live.Value.Machine == "":
			return fmt.Errorf("%w: Node %s reports no identity (status.nodeInfo.systemUUID or machineID)", attach.ErrUnknown, node.Name)
		case live.Value.Machine != node.Machine:
			return fmt.Errorf("%w: Node %s reports machine %q, the request is for machine %q; compare --machine-id of the node plugin there", attach.ErrUnknown, node.Name, live.Value.Machine, node.Machine)
		}
		known = live.Value
	}
	if known.Leaving {
		return fmt.Errorf("%w: Node %s is being deleted or has the taint node.kubernetes.io/out-of-service", attach.ErrLeaving, node.Name)
	}
	return nil
}

// Standings asks the API server about each holder's Node and attachment.
func (n *KubernetesNodes) Standings(ctx context.Context, volumeID string, holders []attach.NodeID) []attach.Holder {
	standings := make([]attach.Holder, 0, len(holders))
	for _, id := range holders {
		standing := n.standing(ctx, volumeID, id)
		if standing.Standing == attach.StandingGone && n.held() {
			standing.Standing = attach.StandingHeld
		}
		standings = append(standings, standing)
	}
	return standings
}

func (n *KubernetesNodes) standing(ctx context.Context, volumeID string, id attach.NodeID) attach.Holder {
	node := n.cluster.LiveNode(ctx, id.Name)
	var attachment attach.Answer[attach.Attachment]
	if node.Found {
		attachment = n.cluster.LiveAttachment(ctx, attach.AttachmentName(volumeID, DriverName, id.Name))
	}
	return attach.Judge(id, volumeID, node, attachment)
}

// LetGo asks the API server whether the node lives, is in service, and reports that it doesn't use the volume. A Node that
// isn't older than the attachment proves nothing: it was made while its machine had the volume already, and what its kubelet
// uses shows in its status only some time after it registered.
func (n *KubernetesNodes) LetGo(ctx context.Context, volumeID string, node attach.NodeID) bool {
	live := n.cluster.LiveNode(ctx, node.Name)
	if live.Err != nil || !live.Found || live.Value.Machine != node.Machine || live.Value.Leaving || live.Value.Uses(volumeID) {
		return false
	}
	attachment := n.cluster.LiveAttachment(ctx, attach.AttachmentName(volumeID, DriverName, node.Name))
	return attachment.Err == nil && attachment.Found && live.Value.Since.Before(attachment.Value.Since)
}

// Granted looks at the cached attachments of the volume.
func (n *KubernetesNodes) Granted(volumeID string) uint64 {
	var highest uint64
	for _, attachment := range n.cluster.CachedAttachmentsOf(volumeID) {
		highest = max(highest, attachment.Grant.Generation)
	}
	return highest
}

// Grants asks the API server about every attachment of the volume that the cache has. Where that leaves nobody, all
// attachments are listed: the newest may not be in the cache yet.
func (n *KubernetesNodes) Grants(ctx context.Context, volumeID string) ([]attach.Grant, error) {
	var attachments []attach.Attachment
	for _, cached := range n.cluster.CachedAttachmentsOf(volumeID) {
		attachment := n.cluster.LiveAttachment(ctx, cached.Name)
		if attachment.Err != nil {
			return nil, fmt.Errorf("%w: %w", attach.ErrUnknown, attachment.Err)
		}
		if attachment.Found {
			attachments = append(attachments, attachment.Value)
		}
	}
	grants, err := n.valid(ctx, volumeID, attachments)
	if err != nil || len(grants) > 0 {
		return grants, err
	}
	if attachments, err = n.cluster.LiveAttachmentsOf(ctx, volumeID); err != nil {
		return nil, fmt.Errorf("%w: %w", attach.ErrUnknown, err)
	}
	return n.valid(ctx, volumeID, attachments)
}

// valid are the grants of those attachments, as they just were, that a living machine has by right.
func (n *KubernetesNodes) valid(ctx context.Context, volumeID string, attachments []attach.Attachment) ([]attach.Grant, error) {
	var grants []attach.Grant
	for _, attachment := range attachments {
		grant := attachment.Grant
		if !attachment.Attached || grant == (attach.Grant{}) || attachment.NodeID != grant.Node.String() {
			continue
		}
		node := n.cluster.LiveNode(ctx, grant.Node.Name)
		switch attach.Judge(grant.Node, volumeID, node, attach.Answer[attach.Attachment]{Value: attachment, Found: true}).Standing {
		case attach.StandingUnknown:
			return nil, fmt.Errorf("%w: %w", attach.ErrUnknown, node.Err)
		case attach.StandingAttached:
			grants = append(grants, grant)
		default:
		}
	}
	return grants, nil
}

// Changed gives a channel that is closed at the next event about an attachment of the volume or its node.
func (n *KubernetesNodes) Changed(volumeID string) <-chan struct{} {
	return n.cluster.AttachmentsChanged(volumeID)
}

// RecordNodes knows nothing of nodes but what the appliance's record says: every holder stays until it is unpublished.
// It is for orchestrators other than Kubernetes.
type RecordNodes struct{}

// Admit admits every node.
func (RecordNodes) Admit(context.Context, string, attach.NodeID) (Admission, error) {
	return Admission{}, nil
}

// Standings finds every holder attached.
func (RecordNodes) Standings(_ context.Context, _ string, holders []attach.NodeID) []attach.Holder {
	standings := make([]attach.Holder, 0, len(holders))
	for _, id := range holders {
		standings = append(standings, attach.Holder{ID: id, Standing: attach.StandingAttached})
	}
	return standings
}

// LetGo never finds proof.
func (RecordNodes) LetGo(context.Context, string, attach.NodeID) bool { return false }

// Granted knows of no grant.
func (RecordNodes) Granted(string) uint64 { return 0 }

// Grants knows of none.
func (RecordNodes) Grants(context.Context, string) ([]attach.Grant, error) { return nil, nil }

// Changed gives a channel on which nothing ever happens: a holder's leaving isn't announced.
func (RecordNodes) Changed(string) <-chan struct{} { return nil }
