package csi

import (
	"context"
	"errors"
	"fmt"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"k8s.io/klog/v2"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

// ControllerUnpublishVolume takes a node's access to the volume away; an empty node_id stands for every node. A volume
// or node that is gone is success. It writes to the record even when there was nobody to remove, so that a publish
// still in flight, whose caller has given up on it, misses its condition.
func (c *Controller) ControllerUnpublishVolume(ctx context.Context, request *csi.ControllerUnpublishVolumeRequest) (*csi.ControllerUnpublishVolumeResponse, error) {
	err := c.ifOurs(request.GetVolumeId(), func(id rds.VolumeID) error {
		disk, found := c.appliance.LastSeen(id)
		if !found {
			var err error
			if disk, err = c.appliance.Get(ctx, id); err != nil {
				return err
			}
		}
		return settle(disk, func(seen rds.Disk) error { return c.unpublish(ctx, seen, request.GetNodeId()) })
	})
	if err != nil && !errors.Is(err, rds.ErrNotFound) {
		return nil, err
	}
	return &csi.ControllerUnpublishVolumeResponse{}, nil
}

// unpublish decides once whom to release, on the disk as it was seen, and writes it.
func (c *Controller) unpublish(ctx context.Context, disk rds.Disk, nodeID string) error {
	if disk.Rewound(c.nodes.Granted(disk.ID.String())) {
		var err error
		if disk, err = c.restore(ctx, disk.ID); err != nil {
			return err
		}
	}
	leaver, err := c.leaver(ctx, disk, nodeID)
	if err != nil {
		return fmt.Errorf("volume %s: %w", disk.ID, err)
	}
	logger := klog.FromContext(ctx).WithValues("leaver", leaver, "holders", disk.Record.Holding.Holders)
	if leaver == "" && nodeID != "" {
		logger.Info("Left the holder alone: the request is about an earlier machine of the same name")
		return nil
	}
	next := disk.Record.Unpublish(leaver)
	if next.Held() && disk.Record.HeldBy(leaver) && !c.letGo(ctx, disk.ID, leaver) {
		logger.Info("The node left a shared volume without a living kubelet having let go of it; it can't be cut off before the other holder leaves")
		next = disk.Record.Depart(leaver)
	}
	after, err := c.appliance.Unpublish(ctx, disk, next)
	if err != nil {
		return err
	}
	logger.Info("Unpublished volume", "exported", after.Exported, "generation", after.Record.Generation)
	return nil
}

func (c *Controller) letGo(ctx context.Context, volume rds.VolumeID, nodeID string) bool {
	node, err := attach.ParseNodeID(nodeID)
	return err == nil && c.nodes.LetGo(ctx, volume.String(), node)
}

// leaver tells which holder a request to unpublish from nodeID is about. external-attacher takes the node ID from the
// CSINode, so for the attachment of an earlier machine it may send the ID of its successor: then the earlier machine is
// meant, if it is proven gone. An empty result for a nodeID that isn't empty means that nobody is to leave.
func (c *Controller) leaver(ctx context.Context, disk rds.Disk, nodeID string) (string, error) {
	if nodeID == "" || disk.Record.HeldBy(nodeID) {
		return nodeID, nil
	}
	node, err := attach.ParseNodeID(nodeID)
	if err != nil {
		// Such a node never held anything.
		return nodeID, nil //nolint:nilerr // there is nobody to remove
	}
	for _, text := range disk.Record.Holding.Holders {
		if holder, err := attach.ParseNodeID(text); err == nil && holder.Name == node.Name {
			return c.namesake(ctx, disk.ID, node, holder)
		}
	}
	return nodeID, nil
}

// namesake tells who is to leave, where the holder is another machine than the request names, of the same node name.
func (c *Controller) namesake(ctx context.Context, volume rds.VolumeID, node, holder attach.NodeID) (string, error) {
	known := c.nodes.Standings(ctx, volume.String(), []attach.NodeID{holder})[0]
	switch {
	case known.Standing == attach.StandingUnknown:
		return "", fmt.Errorf("%w: whether node %s is still machine %s could not be found out", attach.ErrUnknown, holder.Name, holder.Machine)
	case known.Standing == attach.StandingGone, known.Standing == attach.StandingHeld, // detaching is never held
		known.Standing == attach.StandingInUse && !known.DetachingSince.IsZero(): // Kubernetes knows, and asks for it
		return holder.String(), nil
	case known.Standing == attach.StandingInUse:
		klog.FromContext(ctx).Info("Left the holder alone: its node reports another machine and the volume as in use, and its detach is no longer asked for", "holder", holder.String())
		// Nobody leaves, and yet the record is written: a publish to this node may be in flight.
		return node.String(), nil
	default:
		return "", nil
	}
}
