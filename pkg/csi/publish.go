package csi

import (
	"context"
	"errors"
	"fmt"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"k8s.io/klog/v2"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

// changeAttempts bounds how often a request is decided anew because somebody else wrote to the disk in between.
const changeAttempts = 4

// ControllerPublishVolume makes a node the volume's holder, under a new epoch. Whoever held it before is fenced by the
// same exec, so there is never a moment with two.
func (c *Controller) ControllerPublishVolume(ctx context.Context, request *csi.ControllerPublishVolumeRequest) (*csi.ControllerPublishVolumeResponse, error) {
	id, wish, err := parsePublish(request)
	if err != nil {
		return nil, err
	}
	unlock, err := c.locks.lock(id.String())
	if err != nil {
		return nil, err
	}
	defer unlock()
	admission, err := c.nodes.Admit(ctx, id.String(), wish.Node)
	if err != nil {
		return nil, err
	}
	disk, err := c.freeOrCurrent(ctx, id)
	if err != nil {
		return nil, err
	}
	err = settle(disk, func(seen rds.Disk) error {
		disk, err = c.publish(ctx, seen, wish, admission)
		return err
	})
	if err != nil {
		return nil, err
	}
	target := nvme.Target{SubsystemNQN: disk.SubsystemNQN, Address: c.config.Address, Port: c.config.Port}
	return &csi.ControllerPublishVolumeResponse{PublishContext: publishContext{target: target, generation: disk.Record.Generation}.encode()}, nil
}

// settle decides and acts on the disk as it was seen, and again on what it has become if somebody else was faster.
func settle(seen rds.Disk, once func(rds.Disk) error) error {
	var err error
	for range changeAttempts {
		err = once(seen)
		changed := (*rds.ChangedError)(nil)
		if !errors.As(err, &changed) {
			return err
		}
		seen = changed.Now
	}
	return err
}

func parsePublish(request *csi.ControllerPublishVolumeRequest) (rds.VolumeID, attach.Request, error) {
	if request.GetVolumeId() == "" {
		return rds.VolumeID{}, attach.Request{}, &invalidError{field: "volume_id", want: "one"}
	}
	if request.GetNodeId() == "" {
		return rds.VolumeID{}, attach.Request{}, &invalidError{field: "node_id", want: "one"}
	}
	access, err := accessOf(request.GetVolumeCapability())
	if err != nil {
		return rds.VolumeID{}, attach.Request{}, err
	}
	id, err := existingVolume(request.GetVolumeId())
	if err != nil {
		return rds.VolumeID{}, attach.Request{}, err
	}
	node, err := attach.ParseNodeID(request.GetNodeId())
	if err != nil {
		return rds.VolumeID{}, attach.Request{}, fmt.Errorf("%w: %w", attach.ErrNoNode, err)
	}
	return id, attach.Request{Node: node, Access: access.kind, Mode: access.mode, ReadOnly: request.GetReadonly()}, nil
}

// freeOrCurrent gives the disk as it was last seen if nobody held it then, which saves the common case one exec: the
// write that follows is conditional on it. Anything else is only decided on what the appliance says now.
func (c *Controller) freeOrCurrent(ctx context.Context, id rds.VolumeID) (rds.Disk, error) {
	if disk, found := c.appliance.LastSeen(id); found && !disk.Record.Held() {
		return disk, nil
	}
	return c.appliance.Get(ctx, id)
}

// publish decides once, on the disk as it was seen, and acts on the decision.
func (c *Controller) publish(ctx context.Context, disk rds.Disk, wish attach.Request, admission Admission) (rds.Disk, error) {
	decision, err := c.decide(ctx, disk, wish)
	if err != nil {
		return rds.Disk{}, err
	}
	logger := klog.FromContext(ctx).WithValues("verdict", decision.Verdict.String())
	if over := decision.Over; over.ID != (attach.NodeID{}) {
		logger = logger.WithValues("over", over.ID.String(), "standing", over.Standing.String())
	}
	switch decision.Verdict {
	case attach.AlreadyPublished:
		if disk.Consistent() {
			return disk, nil
		}
		logger.Info("Repairing an export that disagrees with its record", "exported", disk.Exported, "subsystemNQN", disk.SubsystemNQN)
		return c.appliance.Publish(ctx, disk, disk.Record)
	case attach.Publish, attach.HandOff, attach.TakeOver:
		if admission.Attached {
			return rds.Disk{}, fmt.Errorf("volume %s: %w: its attachment to node %s counts as attached, but the appliance's record doesn't name the node; that attachment must be deleted first",
				disk.ID, attach.ErrUnknown, wish.Node.Name)
		}
		next := disk.Record.Publish(wish.Node.String(), wish.Access, wish.Mode, wish.ReadOnly)
		published, err := c.appliance.Publish(ctx, disk, next)
		if err != nil {
			return rds.Disk{}, err
		}
		logger.Info("Published volume", "generation", published.Record.Generation)
		return published, nil
	default:
		return rds.Disk{}, refusal(disk.ID, wish.Node, decision)
	}
}

func (c *Controller) decide(ctx context.Context, disk rds.Disk, wish attach.Request) (attach.Decision, error) {
	record := attach.Record{Access: disk.Record.Holding.Access, Mode: disk.Record.Holding.Mode, ReadOnly: disk.Record.Holding.ReadOnly}
	var err error
	if record.Holders, err = holdersOf(disk); err != nil {
		return attach.Decision{}, err
	}
	decision := attach.Decide(wish, record, nil, c.config.Now(), c.config.GracePeriod)
	if decision.Verdict == attach.Unknown {
		// Somebody else holds it: only now is it worth asking what became of them.
		holders := c.nodes.Standings(ctx, disk.ID.String(), record.Holders)
		decision = attach.Decide(wish, record, holders, c.config.Now(), c.config.GracePeriod)
	}
	c.decided(decision.Verdict)
	return decision, nil
}

// holdersOf reads the holders in a disk's record. One that can't be understood can't be judged either.
func holdersOf(disk rds.Disk) ([]attach.NodeID, error) {
	var holders []attach.NodeID
	for _, text := range disk.Record.Holding.Holders {
		holder, err := attach.ParseNodeID(text)
		if err != nil {
			return nil, fmt.Errorf("volume %s: %w: its record names a holder that can't be understood: %w", disk.ID, attach.ErrUnknown, err)
		}
		holders = append(holders, holder)
	}
	return holders, nil
}

// refusal says why the volume isn't given to the node, and what would change that.
func refusal(volume rds.VolumeID, node attach.NodeID, decision attach.Decision) error {
	over := decision.Over.ID
	switch decision.Verdict {
	case attach.Conflict:
		return fmt.Errorf("volume %s can't be published to node %s: %w: node %s (machine %s) is %s; delete the pod there, or its Node if the machine is dead",
			volume, node.Name, attach.ErrConflict, over.Name, over.Machine, decision.Over.Standing)
	case attach.Incompatible:
		return fmt.Errorf("volume %s on node %s: %w; unpublish it first", volume, node.Name, attach.ErrIncompatible)
	default:
		return fmt.Errorf("volume %s can't be published to node %s yet: %w: whether node %s still holds it could not be found out", volume, node.Name, attach.ErrUnknown, over.Name)
	}
}
