package controller

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
func (c *Service) ControllerUnpublishVolume(ctx context.Context, request *csi.ControllerUnpublishVolumeRequest) (*csi.ControllerUnpublishVolumeResponse, error) {
	if err := c.unpublishFrom(ctx, request.GetVolumeId(), request.GetNodeId()); err != nil {
		return nil, err
	}
	return &csi.ControllerUnpublishVolumeResponse{}, nil
}

func (c *Service) unpublishFrom(ctx context.Context, volumeID, nodeID string) error {
	err := c.ifOurs(volumeID, func(id rds.VolumeID) error {
		disk, found := c.appliance.LastSeen(id)
		if !found {
			var err error
			if disk, err = c.appliance.Get(ctx, id); err != nil {
				return err
			}
		}
		return retryOnChange(disk, func(seen rds.Disk) error { return c.unpublish(ctx, seen, nodeID) })
	})
	if errors.Is(err, rds.ErrNotFound) {
		return nil
	}
	return err
}

// unpublish decides once which holder is removed, on the disk as it was seen, and writes it.
func (c *Service) unpublish(ctx context.Context, disk rds.Disk, nodeID string) error {
	disk, err := c.restoreIfOld(ctx, disk)
	if err != nil {
		return err
	}
	removed, err := c.holderToRemove(ctx, disk, nodeID)
	if err != nil {
		return fmt.Errorf("volume %s: %w", disk.ID, err)
	}
	logger := klog.FromContext(ctx).WithValues("leaver", removed, "holders", disk.Record.Holding.Holders)
	if removed == "" && nodeID != "" {
		logger.Info("Left the holder alone: the request is about an earlier machine of the same name")
		return nil
	}
	next := disk.Record.Unpublish(removed)
	if next.Held() && disk.Record.HeldBy(removed) && !c.stoppedUsing(ctx, disk.ID, removed) {
		logger.Info("The node left a shared volume, and no living kubelet proves that it stopped using it; it can't be cut off before the other holder leaves")
		next = disk.Record.Depart(removed)
	}
	after, err := c.appliance.Unpublish(ctx, disk, next)
	if err != nil {
		return err
	}
	logger.Info("Unpublished volume", "exported", after.Exported, "generation", after.Record.Generation)
	return nil
}

func (c *Service) stoppedUsing(ctx context.Context, id rds.VolumeID, nodeID string) bool {
	node, err := attach.ParseNodeID(nodeID)
	return err == nil && c.nodes.StoppedUsing(ctx, id.String(), node)
}

// holderToRemove returns the holder that a request to unpublish from nodeID is about. external-attacher takes the node ID
// from the CSINode, so for the attachment of an earlier machine it may send the ID of its successor. Then the earlier
// machine is meant, if it is proven gone. The result is empty if no holder is to be removed; for an empty nodeID, that
// stands for all of them.
func (c *Service) holderToRemove(ctx context.Context, disk rds.Disk, nodeID string) (string, error) {
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

// namesake returns the holder to remove, where the holder has the node name of the request and is another machine.
func (c *Service) namesake(ctx context.Context, id rds.VolumeID, node, holder attach.NodeID) (string, error) {
	known := c.nodes.HolderStates(ctx, id.String(), []attach.NodeID{holder})[0]
	switch {
	case known.State == attach.HolderUnknown:
		return "", fmt.Errorf("%w: whether node %s is still machine %s could not be found out", attach.ErrUnknown, holder.Name, holder.Machine)
	case known.State == attach.HolderGone, known.State == attach.HolderGonePaused, // detaching is never paused
		known.State == attach.HolderInUse && !known.DetachingSince.IsZero(): // Kubernetes knows, and asks for it
		return holder.String(), nil
	case known.State == attach.HolderInUse:
		klog.FromContext(ctx).Info("Left the holder alone: its node reports another machine and the volume as in use, and its detach is no longer asked for", "holder", holder.String())
		// No holder is removed, but the record is written: a publish to this node may be in flight.
		return node.String(), nil
	default:
		return "", nil
	}
}
