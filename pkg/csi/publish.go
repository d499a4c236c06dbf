package csi

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"k8s.io/klog/v2"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

// changeAttempts bounds how often a request is decided anew because somebody else wrote to the disk in between.
const changeAttempts = 4

// ControllerPublishVolume makes a node the volume's holder, under a new epoch. Whoever held it before is fenced by the
// same exec, so there is never a moment with two. A volume that may be shared is joined instead while its holder stays.
// A conflict that is about to resolve is waited for, since an error would make the sidecars wait longer.
func (c *Controller) ControllerPublishVolume(ctx context.Context, request *csi.ControllerPublishVolumeRequest) (*csi.ControllerPublishVolumeResponse, error) {
	id, wish, err := parsePublish(request)
	if err != nil {
		return nil, err
	}
	place, err := c.door.enter(ctx, id.String())
	if err != nil {
		return nil, err
	}
	defer place.leave()
	disk, err := c.publishOnce(ctx, place, id, wish)
	for errors.Is(err, errResolving) {
		// Taken before the volume is looked at again, so that no event between the two is missed.
		changed := c.nodes.Changed(id.String())
		if disk, err = c.publishOnce(ctx, place, id, wish); !errors.Is(err, errResolving) || place.wait(ctx, changed) != nil {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	grant := attach.Grant{
		Node: wish.Node, SubsystemNQN: disk.SubsystemNQN, Generation: disk.Record.Generation,
		Access: disk.Record.Holding.Access, Mode: disk.Record.Holding.Mode, ReadOnly: disk.Record.Holding.ReadOnly,
	}
	target := nvme.Target{SubsystemNQN: disk.SubsystemNQN, Address: c.config.Address, Port: c.config.Port}
	return &csi.ControllerPublishVolumeResponse{PublishContext: publishContext{target: target, grant: grant}.encode()}, nil
}

// publishOnce decides and acts once, with the volume locked. An error that is errResolving as well may be gone soon.
func (c *Controller) publishOnce(ctx context.Context, place *place, id rds.VolumeID, wish attach.Request) (rds.Disk, error) {
	unlock, err := c.lockFrom(ctx, place)
	if err != nil {
		return rds.Disk{}, err
	}
	defer unlock()
	admission, err := c.admission(ctx, id, &wish)
	if err != nil {
		return rds.Disk{}, err
	}
	disk, err := c.freeOrCurrent(ctx, id)
	if err != nil {
		return rds.Disk{}, err
	}
	err = settle(disk, func(seen rds.Disk) error {
		disk, err = c.publish(ctx, seen, wish, admission)
		if changed := (*rds.ChangedError)(nil); !errors.As(err, &changed) {
			return err
		}
		// Who was faster had a reason, and the request may be superseded by it.
		var refused error
		if admission, refused = c.admission(ctx, id, &wish); refused != nil {
			return refused
		}
		return err
	})
	return disk, err
}

// lockFrom locks the volume for a request at the door. Who has the lock is most likely the detach that the request would wait for
// anyway, so it waits for that to end as it does for every other conflict.
func (c *Controller) lockFrom(ctx context.Context, place *place) (unlock func(), err error) {
	for {
		// Taken before the lock is tried, so that its end isn't missed.
		freed := c.locks.freed(place.volume)
		if unlock, err = c.locks.lock(place.volume); err == nil || place.wait(ctx, freed) != nil {
			return unlock, err
		}
	}
}

// admission asks whether the node may get the volume, and completes the wish by what was granted so far.
func (c *Controller) admission(ctx context.Context, id rds.VolumeID, wish *attach.Request) (Admission, error) {
	admission, err := c.nodes.Admit(ctx, id.String(), wish.Node)
	wish.Granted = c.nodes.Granted(id.String())
	return admission, err
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
	if disk.Rewound(wish.Granted) {
		var err error
		if disk, err = c.restore(ctx, disk.ID); err != nil {
			return rds.Disk{}, err
		}
	}
	decision, err := c.decide(ctx, disk, wish)
	if err != nil {
		return rds.Disk{}, err
	}
	logger := klog.FromContext(ctx).WithValues("verdict", decision.Verdict.String())
	if over := decision.Over; over.ID != (attach.NodeID{}) {
		logger = logger.WithValues("over", over.ID.String(), "standing", over.Standing.String())
	}
	ctx = klog.NewContext(ctx, logger)
	switch decision.Verdict {
	case attach.AlreadyPublished:
		return c.repair(ctx, disk)
	case attach.Publish, attach.HandOff, attach.TakeOver, attach.Join:
		if admission.Attached {
			return rds.Disk{}, fmt.Errorf("volume %s: %w: %w: its attachment to node %s counts as attached, but the appliance's record doesn't name the node; that attachment must be deleted first",
				disk.ID, errResolving, attach.ErrUnknown, wish.Node.Name)
		}
		return c.admit(ctx, disk, wish, decision)
	default:
		c.noteRefusal(disk.ID, wish.Node, decision)
		return rds.Disk{}, refusal(disk.ID, wish.Node, decision)
	}
}

// repair has export and subsystem NQN agree with the record of a disk, which they fail to do only after an interrupted
// write or after somebody else's.
func (c *Controller) repair(ctx context.Context, disk rds.Disk) (rds.Disk, error) {
	if disk.Consistent() {
		return disk, nil
	}
	klog.FromContext(ctx).Info("Repairing an export that disagrees with its record", "exported", disk.Exported, "subsystemNQN", disk.SubsystemNQN)
	repaired, err := c.appliance.Publish(ctx, disk, disk.Record)
	if err == nil && !disk.Admits() {
		c.observer.Restored(RestoredExport)
	}
	return repaired, err
}

// admit writes the node into the record: under a new epoch, or under that of the holder that it joins.
func (c *Controller) admit(ctx context.Context, disk rds.Disk, wish attach.Request, decision attach.Decision) (rds.Disk, error) {
	next := disk.Record.Publish(wish.Node.String(), wish.Access, wish.Mode, wish.ReadOnly)
	if decision.Verdict == attach.Join {
		var err error
		if disk, err = c.repair(ctx, disk); err != nil {
			return rds.Disk{}, err
		}
		next = disk.Record.Join(wish.Node.String())
	}
	published, err := c.appliance.Publish(ctx, disk, next)
	if err != nil {
		return rds.Disk{}, err
	}
	klog.FromContext(ctx).Info("Published volume", "generation", published.Record.Generation)
	if decision.Verdict == attach.TakeOver {
		c.observer.Note(attach.Note{
			Reason: attach.VolumeTakenOver, Volume: disk.ID.String(), Node: decision.Over.ID.Name,
			Message: fmt.Sprintf("Node %s (machine %s) is %s; its access was ended at the appliance and node %s got the volume.", decision.Over.ID.Name, decision.Over.ID.Machine, decision.Over.Standing, wish.Node.Name),
		})
	}
	return published, nil
}

func (c *Controller) decide(ctx context.Context, disk rds.Disk, wish attach.Request) (attach.Decision, error) {
	record, err := recordOf(disk)
	if err != nil {
		return attach.Decision{}, err
	}
	policy := attach.Policy{Grace: c.config.GracePeriod, AllowUnfenced: c.config.AllowUnfenced}
	decision := attach.Decide(wish, record, nil, time.Now(), policy)
	if decision.Verdict == attach.Unknown {
		// Somebody else holds it: only now is it worth asking what became of them.
		holders := c.nodes.Standings(ctx, disk.ID.String(), record.Holders)
		decision = attach.Decide(wish, record, holders, time.Now(), policy)
	}
	c.observer.Decided(decision.Verdict)
	return decision, nil
}

// refusal says why the volume isn't given to the node, and what would change that.
func refusal(volume rds.VolumeID, node attach.NodeID, decision attach.Decision) error {
	over := decision.Over.ID
	switch decision.Verdict {
	case attach.Conflict:
		err := fmt.Errorf("volume %s can't be published to node %s: %w: node %s (machine %s) is %s; delete the pod there, or its Node if the machine is dead",
			volume, node.Name, attach.ErrConflict, over.Name, over.Machine, decision.Over.Standing)
		if decision.Leaving != (attach.NodeID{}) {
			return fmt.Errorf("%w: %w", errResolving, err)
		}
		return err
	case attach.Incompatible:
		return fmt.Errorf("volume %s on node %s: %w; unpublish it first", volume, node.Name, attach.ErrIncompatible)
	case attach.Unfenced:
		return fmt.Errorf("volume %s can't be shared with node %s: %w: node %s (machine %s) left without letting go; detach the volume everywhere first, or allow it with --rwx-allow-unfenced",
			volume, node.Name, attach.ErrUnfenced, over.Name, over.Machine)
	case attach.WentBack:
		return fmt.Errorf("volume %s can't be published to node %s yet: %w: the appliance's record is older than what was granted", volume, node.Name, attach.ErrUnknown)
	default:
		return fmt.Errorf("volume %s can't be published to node %s yet: %w: node %s is %s", volume, node.Name, attach.ErrUnknown, over.Name, decision.Over.Standing)
	}
}

// noteRefusal tells people of the refusals that nothing but they can end.
func (c *Controller) noteRefusal(volume rds.VolumeID, node attach.NodeID, decision attach.Decision) {
	note := attach.Note{Warning: true, Volume: volume.String(), Node: decision.Over.ID.Name, Message: refusal(volume, node, decision).Error()}
	switch {
	case decision.Verdict == attach.Unfenced:
		note.Reason = attach.JoinRefused
	case decision.Over.Standing == attach.StandingInUse:
		note.Reason = attach.MachineIdentityChanged
	case decision.Verdict == attach.Conflict && decision.Leaving == (attach.NodeID{}), decision.Verdict == attach.Incompatible:
		note.Reason = attach.PublishRefused
	default:
		return
	}
	c.observer.Note(note)
}
