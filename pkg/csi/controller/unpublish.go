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

// ControllerUnpublishVolume revokes a node's access to the volume; an empty node_id stands for every node. A volume or
// a node that is gone is success. The record is written even if no holder is removed: a publish may still be in flight
// although its caller has given up, and must miss its condition.
func (c *Service) ControllerUnpublishVolume(ctx context.Context, request *csi.ControllerUnpublishVolumeRequest) (*csi.ControllerUnpublishVolumeResponse, error) {
	if err := c.unpublishFrom(ctx, request.GetVolumeId(), request.GetNodeId()); err != nil {
		return nil, err
	}
	return &csi.ControllerUnpublishVolumeResponse{}, nil
}

func (c *Service) unpublishFrom(ctx context.Context, handle, nodeID string) error {
	err := c.ifOurs(handle, func(id rds.VolumeID) error {
		if _, err := c.change(ctx, id, always, func(seen rds.Disk) (rds.Disk, error) { return c.unpublish(ctx, seen, nodeID) }); err != nil {
			return err
		}
		return c.fences.wait(ctx, id)
	})
	if errors.Is(err, rds.ErrNotFound) {
		return nil
	}
	return err
}

// unpublish decides once which holder is removed, on the disk as it was seen, and writes the record.
func (c *Service) unpublish(ctx context.Context, disk rds.Disk, nodeID string) (rds.Disk, error) {
	disk, err := c.restoreIfOld(ctx, disk)
	if err != nil {
		return rds.Disk{}, err
	}
	removed, err := c.holderToRemove(ctx, disk, nodeID)
	if err != nil {
		return rds.Disk{}, fmt.Errorf("volume %s: %w", disk.ID, err)
	}
	logger := klog.FromContext(ctx).WithValues("leaver", removed, "holders", disk.Record.Holding.Holders)
	if removed == "" && nodeID != "" {
		logger.Info("Kept the holder: the request is about an earlier machine of the same name")
		return disk, nil
	}
	next := disk.Record.Unpublish(removed)
	if next.Held() && disk.Record.HeldBy(removed) && !c.stoppedUsing(ctx, disk.ID, removed) {
		logger.Info("No living kubelet proves that the node stopped using the shared volume; its access can't be revoked before the other holder is unpublished")
		next = disk.Record.Depart(removed)
	}
	after, err := c.appliance.Unpublish(ctx, disk, next)
	if err == nil {
		if disk.Exported && !after.Exported {
			c.fences.begin(disk.ID)
		}
		logger.Info("Unpublished volume", "exported", after.Exported, "generation", after.Record.Generation)
	}
	return after, err
}

func (c *Service) stoppedUsing(ctx context.Context, id rds.VolumeID, nodeID string) bool {
	node, err := attach.ParseNodeID(nodeID)
	return err == nil && c.nodes.StoppedUsing(ctx, id.String(), node)
}

// holderToRemove returns the holder that a request to unpublish from nodeID is about. external-attacher takes the node
// ID from the CSINode. So for the attachment of an earlier machine it may send the ID of the machine that has the
// node's name now. The earlier machine is meant then, if it is proven gone. The result is empty if no holder is to be
// removed. For an empty nodeID it is empty too, and stands for all holders.
func (c *Service) holderToRemove(ctx context.Context, disk rds.Disk, nodeID string) (string, error) {
	if nodeID == "" || disk.Record.HeldBy(nodeID) {
		return nodeID, nil
	}
	node, err := attach.ParseNodeID(nodeID)
	if err != nil {
		// Such a node never had a volume.
		return nodeID, nil //nolint:nilerr // there is no holder to remove
	}
	for _, text := range disk.Record.Holding.Holders {
		if holder, err := attach.ParseNodeID(text); err == nil && holder.Name == node.Name {
			return c.sameNameHolder(ctx, disk.ID, node, holder)
		}
	}
	return nodeID, nil
}

// sameNameHolder returns the holder to remove if a holder has the requested node's name, and is another machine.
func (c *Service) sameNameHolder(ctx context.Context, id rds.VolumeID, node, holder attach.NodeID) (string, error) {
	known := c.nodes.HolderStates(ctx, id.String(), []attach.NodeID{holder})[0]
	switch {
	case known.State == attach.HolderUnknown:
		return "", fmt.Errorf("%w: whether node %s is still machine %s could not be found out", attach.ErrUnknown, holder.Name, holder.Machine)
	case known.State == attach.HolderGone, known.State == attach.HolderGonePaused, // detaching is never paused
		known.State == attach.HolderInUse && !known.DetachingSince.IsZero(): // Kubernetes knows, and asks for it
		return holder.String(), nil
	case known.State == attach.HolderInUse:
		klog.FromContext(ctx).Info("Kept the holder: its node reports another machine and the volume as in use, and its detach is no longer requested", "holder", holder.String())
		// No holder is removed, but the record is written: a publish to this node may be in flight.
		return node.String(), nil
	default:
		return "", nil
	}
}
