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
	LiveNode(ctx context.Context, name string) attach.Answer[attach.Node]
	LiveAttachment(ctx context.Context, name string) attach.Answer[attach.Attachment]
}

// KubernetesNodes answers from Kubernetes. What it denies or finds gone, it has asked the API server about.
type KubernetesNodes struct{ cluster Kubernetes }

// NewKubernetesNodes asks this cluster.
func NewKubernetesNodes(cluster Kubernetes) *KubernetesNodes {
	return &KubernetesNodes{cluster: cluster}
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
		node := n.cluster.LiveNode(ctx, id.Name)
		var attachment attach.Answer[attach.Attachment]
		if node.Found {
			attachment = n.cluster.LiveAttachment(ctx, attach.AttachmentName(volumeID, DriverName, id.Name))
		}
		standings = append(standings, attach.Judge(id, volumeID, node, attachment))
	}
	return standings
}

// Replaced asks the API server whether the node's name is proven to stand for another machine, or for none.
func (n *KubernetesNodes) Replaced(ctx context.Context, node attach.NodeID) (bool, error) {
	live := n.cluster.LiveNode(ctx, node.Name)
	if live.Err != nil {
		return false, fmt.Errorf("%w: %w", attach.ErrUnknown, live.Err)
	}
	return !live.Found || !live.Value.IsMachine(node.Machine), nil
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

// Replaced never finds a machine replaced.
func (RecordNodes) Replaced(context.Context, attach.NodeID) (bool, error) { return false, nil }
