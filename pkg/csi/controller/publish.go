package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"k8s.io/klog/v2"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/capability"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/publishcontext"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

// changeAttempts bounds how often a request is decided anew because somebody else wrote to the disk in between.
const changeAttempts = 4

// errEnding comes with a conflict that may end in a moment.
var errEnding = errors.New("about to change")

// ControllerPublishVolume makes a node the volume's holder, under a new epoch. Whoever held it before is fenced by the
// same exec, so there is never a moment with two. A volume that may be shared is joined instead while its holder stays.
// A conflict that is about to resolve is waited for, since an error would make the sidecars wait longer.
func (c *Service) ControllerPublishVolume(ctx context.Context, request *csi.ControllerPublishVolumeRequest) (*csi.ControllerPublishVolumeResponse, error) {
	id, wanted, err := parsePublish(request)
	if err != nil {
		return nil, err
	}
	ticket, err := c.queue.join(ctx, id)
	if err != nil {
		return nil, err
	}
	defer ticket.done()
	disk, err := c.publishOnce(ctx, ticket, id, wanted)
	for errors.Is(err, errEnding) {
		// Taken before the volume is looked at again, so that no event between the two is missed.
		changed := c.nodes.Changed(id.String())
		if disk, err = c.publishOnce(ctx, ticket, id, wanted); !errors.Is(err, errEnding) || ticket.wait(ctx, changed) != nil {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	grant := attach.Grant{
		Node: wanted.Node, SubsystemNQN: disk.SubsystemNQN, Generation: disk.Record.Generation,
		Access: disk.Record.Holding.Access, Mode: disk.Record.Holding.Mode, ReadOnly: disk.Record.Holding.ReadOnly,
	}
	target := nvme.Target{SubsystemNQN: disk.SubsystemNQN, Address: c.config.Address, Port: c.config.Port}
	return &csi.ControllerPublishVolumeResponse{PublishContext: publishcontext.Context{Target: target, Grant: grant}.Encode()}, nil
}

// publishOnce decides and acts once, with the volume locked. An error that is errEnding as well may be gone soon.
func (c *Service) publishOnce(ctx context.Context, ticket *ticket, id rds.VolumeID, wanted attach.Request) (rds.Disk, error) {
	unlock, err := c.lockQueued(ctx, ticket)
	if err != nil {
		return rds.Disk{}, err
	}
	defer unlock()
	admission, err := c.admission(ctx, id, &wanted)
	if err != nil {
		return rds.Disk{}, err
	}
	disk, err := c.lastSeenIfFree(ctx, id)
	if err != nil {
		return rds.Disk{}, err
	}
	err = retryOnChange(disk, func(seen rds.Disk) error {
		disk, err = c.publish(ctx, seen, wanted, admission)
		if changed := (*rds.ChangedError)(nil); !errors.As(err, &changed) {
			return err
		}
		// Who was faster had a reason, and the request may be superseded by it.
		var refused error
		if admission, refused = c.admission(ctx, id, &wanted); refused != nil {
			return refused
		}
		return err
	})
	return disk, err
}

// lockQueued locks the volume for a queued request. The operation that has the lock is most likely the detach that the
// request would wait for anyway, so it waits for that as for every other conflict.
func (c *Service) lockQueued(ctx context.Context, ticket *ticket) (unlock func(), err error) {
	for {
		// Taken before the lock is tried, so that unlocking isn't missed.
		unlocked := c.locks.Unlocked(ticket.id)
		if unlock, err = c.locks.Lock(ticket.id); err == nil || ticket.wait(ctx, unlocked) != nil {
			return unlock, err
		}
	}
}

// admission asks whether the node may get the volume, and completes the request by what was granted so far.
func (c *Service) admission(ctx context.Context, id rds.VolumeID, wanted *attach.Request) (attach.Admission, error) {
	admission, err := c.nodes.Admit(ctx, id.String(), wanted.Node)
	wanted.Granted = c.granted(id)
	return admission, err
}

// retryOnChange has once decide and act on the disk as it was seen, and again on what it has become if somebody else wrote
// to it first.
func retryOnChange(seen rds.Disk, once func(rds.Disk) error) error {
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
	if request.GetNodeId() == "" {
		return rds.VolumeID{}, attach.Request{}, &failure.InvalidError{Field: "node_id", Want: "one"}
	}
	access, err := capability.Parse(request.GetVolumeCapability())
	if err != nil {
		return rds.VolumeID{}, attach.Request{}, err
	}
	id, err := existingVolume(request)
	if err != nil {
		return rds.VolumeID{}, attach.Request{}, err
	}
	node, err := attach.ParseNodeID(request.GetNodeId())
	if err != nil {
		return rds.VolumeID{}, attach.Request{}, fmt.Errorf("%w: %w", attach.ErrNoNode, err)
	}
	return id, attach.Request{Node: node, Access: access.Kind, Mode: access.Mode, ReadOnly: request.GetReadonly()}, nil
}

// lastSeenIfFree gives the disk as it was last seen if nobody held it then, which saves the common case one exec: the
// write that follows is conditional on it. Anything else is only decided on what the appliance says now.
func (c *Service) lastSeenIfFree(ctx context.Context, id rds.VolumeID) (rds.Disk, error) {
	if disk, found := c.appliance.LastSeen(id); found && !disk.Record.Held() {
		return disk, nil
	}
	return c.appliance.Get(ctx, id)
}

// publish decides once, on the disk as it was seen, and acts on the decision.
func (c *Service) publish(ctx context.Context, disk rds.Disk, wanted attach.Request, admission attach.Admission) (rds.Disk, error) {
	disk, err := c.restoreIfOld(ctx, disk)
	if err != nil {
		return rds.Disk{}, err
	}
	decision, err := c.decide(ctx, disk, wanted)
	if err != nil {
		return rds.Disk{}, err
	}
	logger := klog.FromContext(ctx).WithValues("verdict", decision.Verdict.String())
	if over := decision.Over; over.ID != (attach.NodeID{}) {
		logger = logger.WithValues("over", over.ID.String(), "standing", over.State.String())
	}
	ctx = klog.NewContext(ctx, logger)
	switch decision.Verdict {
	case attach.AlreadyPublished:
		return c.repair(ctx, disk)
	case attach.Publish, attach.HandOff, attach.TakeOver, attach.Join:
		if admission.Attached {
			return rds.Disk{}, fmt.Errorf("volume %s: %w: %w: its attachment to node %s counts as attached, but the appliance's record doesn't name the node; that attachment must be deleted first",
				disk.ID, errEnding, attach.ErrUnknown, wanted.Node.Name)
		}
		return c.admit(ctx, disk, wanted, decision)
	default:
		c.noteRefusal(disk.ID, wanted.Node, decision)
		return rds.Disk{}, refusal(disk.ID, wanted.Node, decision)
	}
}

// repair has export and subsystem NQN agree with the record of a disk, which they fail to do only after an interrupted
// write or after somebody else's.
func (c *Service) repair(ctx context.Context, disk rds.Disk) (rds.Disk, error) {
	if disk.Consistent() {
		return disk, nil
	}
	klog.FromContext(ctx).Info("Repairing an export that disagrees with its record", "exported", disk.Exported, "subsystemNQN", disk.SubsystemNQN)
	repaired, err := c.appliance.Publish(ctx, disk, disk.Record)
	if err == nil && !disk.Admits() {
		c.observer.Restored(attach.RestoredExport)
	}
	return repaired, err
}

// admit writes the node into the record: under a new epoch, or under that of the holder that it joins.
func (c *Service) admit(ctx context.Context, disk rds.Disk, wanted attach.Request, decision attach.Decision) (rds.Disk, error) {
	next := disk.Record.Publish(wanted.Node.String(), wanted.Access, wanted.Mode, wanted.ReadOnly)
	if decision.Verdict == attach.Join {
		var err error
		if disk, err = c.repair(ctx, disk); err != nil {
			return rds.Disk{}, err
		}
		next = disk.Record.Join(wanted.Node.String())
	}
	published, err := c.appliance.Publish(ctx, disk, next)
	if err != nil {
		return rds.Disk{}, err
	}
	klog.FromContext(ctx).Info("Published volume", "generation", published.Record.Generation)
	if decision.Verdict == attach.TakeOver {
		c.observer.Note(attach.Note{
			Reason: attach.VolumeTakenOver, Volume: disk.ID.String(), Node: decision.Over.ID.Name,
			Message: fmt.Sprintf("Node %s (machine %s) is %s; its access was ended at the appliance and node %s got the volume.", decision.Over.ID.Name, decision.Over.ID.Machine, decision.Over.State, wanted.Node.Name),
		})
	}
	return published, nil
}

func (c *Service) decide(ctx context.Context, disk rds.Disk, wanted attach.Request) (attach.Decision, error) {
	record, err := recordOf(disk)
	if err != nil {
		return attach.Decision{}, err
	}
	policy := attach.Policy{Grace: c.config.GracePeriod, AllowUnfenced: c.config.AllowUnfenced}
	decision := attach.Decide(wanted, record, nil, time.Now(), policy)
	if decision.Verdict == attach.Unknown {
		// Somebody else holds it: only now is it worth asking what became of them.
		holders := c.nodes.HolderStates(ctx, disk.ID.String(), record.Holders)
		decision = attach.Decide(wanted, record, holders, time.Now(), policy)
	}
	c.observer.Decided(decision.Verdict)
	return decision, nil
}
