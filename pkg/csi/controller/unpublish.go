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
	switch {
	case errors.Is(err, rds.ErrNotFound):
		return nil
	case errors.Is(err, rds.ErrNotOurs), errors.Is(err, rds.ErrElsewhere):
		return c.unpublishForeign(ctx, handle, err)
	default:
		return err
	}
}

// unpublishForeign decides about a volume that isn't this cluster's, or whose disk is in another place; cause says so. Nothing
// of it is ever changed. If the disk admits no node of this cluster, there is nothing to revoke, and the attachment must not
// keep its finalizer for ever.
func (c *Service) unpublishForeign(ctx context.Context, handle string, cause error) error {
	id, err := rds.ParseVolumeID(handle)
	if err != nil {
		return err
	}
	record, err := c.appliance.ForeignRecord(ctx, id)
	if errors.Is(err, rds.ErrOtherAppliance) {
		return err
	}
	if err != nil && !errors.Is(err, rds.ErrNotFound) {
		return fmt.Errorf("%w; whom it admits isn't known: %w", cause, err)
	}
	holders, err := parseNodeIDs(record.Holding.Holders)
	if err != nil {
		return fmt.Errorf("%w; whom it admits can't be understood: %w", cause, err)
	}
	for _, holder := range c.nodes.HolderStates(ctx, handle, holders) {
		switch holder.State {
		case attach.HolderGone:
		case attach.HolderUnknown:
			return fmt.Errorf("volume %s: %w: whether node %s is one of this cluster could not be found out: %w", id, attach.ErrUnknown, holder.ID.Name, cause)
		default:
			return fmt.Errorf("%w; it admits node %s (machine %s) of this cluster all the same: if the cluster's ID was changed, start the controller with --cluster-id=%s again, and detach the volume before you change it",
				cause, holder.ID.Name, holder.ID.Machine, record.Cluster)
		}
	}
	c.observer.Note(attach.Note{
		Reason: attach.ForeignVolumeDetached, Warning: true, Volume: handle,
		Message: fmt.Sprintf("The volume counts as detached, and nothing was changed on the appliance, which admits no node of this cluster to it: %v.", cause),
	})
	klog.FromContext(ctx).Info("Left a volume alone that isn't this cluster's, and admits none of its nodes", "reason", cause.Error())
	return nil
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
