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

// errMayEndSoon is wrapped by a refusal whose cause may end in a moment.
var errMayEndSoon = errors.New("about to change")

// ControllerPublishVolume makes a node the volume's holder, under a new epoch. The same exec fences the earlier holder,
// so the volume never has two. If the volume may be shared and its holder stays, the node joins the holder's epoch
// instead. A conflict that may end soon is waited for: after an error the sidecars would wait longer.
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
	disk, err := c.retry(ctx, ticket, func() (rds.Disk, error) { return c.tryPublish(ctx, ticket, wanted) })
	if err == nil {
		err = c.fences.wait(ctx, id)
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

// retry tries again whenever something about the volume's attachments has changed, for as long as the error is
// errMayEndSoon and the request may wait.
func (c *Service) retry(ctx context.Context, ticket *ticket, try func() (rds.Disk, error)) (rds.Disk, error) {
	disk, err := try()
	for errors.Is(err, errMayEndSoon) {
		// Requested before the volume is looked at again, so that no event in between is missed.
		changed := c.nodes.Changed(ctx, ticket.id.String())
		if disk, err = try(); !errors.Is(err, errMayEndSoon) || ticket.wait(ctx, changed) != nil {
			break
		}
	}
	return disk, err
}

// tryPublish locks the volume, decides and acts once. It returns errMayEndSoon if another try may succeed soon.
func (c *Service) tryPublish(ctx context.Context, ticket *ticket, wanted attach.Request) (rds.Disk, error) {
	unlock, err := c.lockQueued(ctx, ticket)
	if err != nil {
		return rds.Disk{}, err
	}
	defer unlock()
	admission, err := c.admission(ctx, ticket.id, &wanted)
	if err != nil {
		return rds.Disk{}, err
	}
	return c.change(ctx, ticket.id, ifUnheld, func(seen rds.Disk) (rds.Disk, error) {
		disk, err := c.publish(ctx, seen, wanted, admission)
		if _, changed := errors.AsType[*rds.ChangedError](err); changed {
			// The other write had a reason, which may supersede this request.
			var refused error
			if admission, refused = c.admission(ctx, ticket.id, &wanted); refused != nil {
				return rds.Disk{}, refused
			}
		}
		return disk, err
	})
}

// lockQueued locks the volume for a queued request. If the volume is locked, that is most likely by the detach for
// which the request would wait anyway. So it waits for the volume to be unlocked as for any other conflict.
func (c *Service) lockQueued(ctx context.Context, ticket *ticket) (unlock func(), err error) {
	for {
		// Requested before the volume is locked, so that unlocking isn't missed.
		unlocked := c.locks.Unlocked(ticket.id)
		if unlock, err = c.locks.Lock(ticket.id); err == nil || ticket.wait(ctx, unlocked) != nil {
			return unlock, err
		}
	}
}

// admission asks whether the node may get the volume. It also sets the request's Granted to the highest generation that
// was granted so far.
func (c *Service) admission(ctx context.Context, id rds.VolumeID, wanted *attach.Request) (attach.Admission, error) {
	admission, err := c.nodes.Admit(ctx, id.String(), wanted.Node)
	wanted.Granted = c.granted(id)
	c.noteDuplicate(id, wanted.Node, err)
	return admission, err
}

func parsePublish(request *csi.ControllerPublishVolumeRequest) (rds.VolumeID, attach.Request, error) {
	if request.GetNodeId() == "" {
		return rds.VolumeID{}, attach.Request{}, &failure.InvalidError{Field: "node_id", Want: "one"}
	}
	access, err := capability.Parse(request.GetVolumeCapability())
	if err != nil {
		return rds.VolumeID{}, attach.Request{}, err
	}
	id, err := parseExisting(request)
	if err != nil {
		return rds.VolumeID{}, attach.Request{}, err
	}
	node, err := attach.ParseNodeID(request.GetNodeId())
	if err != nil {
		return rds.VolumeID{}, attach.Request{}, fmt.Errorf("%w: %w", attach.ErrNoNode, err)
	}
	return id, attach.Request{Node: node, Access: access.Kind, Mode: access.Mode, ReadOnly: request.GetReadonly()}, nil
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
		return c.repairExport(ctx, disk)
	case attach.Publish, attach.HandOff, attach.TakeOver, attach.Join:
		if admission.Attached {
			return rds.Disk{}, fmt.Errorf("volume %s: %w: %w: its attachment to node %s counts as attached, but the appliance's record doesn't name the node; that attachment must be deleted first",
				disk.ID, errMayEndSoon, attach.ErrUnknown, wanted.Node.Name)
		}
		return c.grantAccess(ctx, disk, wanted, decision)
	default:
		c.noteRefusal(disk.ID, wanted.Node, decision)
		return rds.Disk{}, refusal(disk.ID, wanted.Node, decision)
	}
}

// repairExport returns a disk whose export and subsystem NQN agree with its record. They disagree only after an
// interrupted write, or after a write by another program.
func (c *Service) repairExport(ctx context.Context, disk rds.Disk) (rds.Disk, error) {
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

// grantAccess makes the node a holder, under a new epoch or under that of the holder that it joins.
func (c *Service) grantAccess(ctx context.Context, disk rds.Disk, wanted attach.Request, decision attach.Decision) (rds.Disk, error) {
	next := disk.Record.Publish(wanted.Node.String(), wanted.Access, wanted.Mode, wanted.ReadOnly)
	if decision.Verdict == attach.Join {
		var err error
		if disk, err = c.repairExport(ctx, disk); err != nil {
			return rds.Disk{}, err
		}
		next = disk.Record.Join(wanted.Node.String())
	}
	published, err := c.appliance.Publish(ctx, disk, next)
	if err != nil {
		return rds.Disk{}, err
	}
	if decision.Verdict == attach.HandOff || decision.Verdict == attach.TakeOver {
		c.fences.begin(disk.ID)
	}
	if decision.Verdict == attach.HandOff {
		c.observer.HandedOff()
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

// decide returns the decision on the request, and reports it to the observer.
func (c *Service) decide(ctx context.Context, disk rds.Disk, wanted attach.Request) (attach.Decision, error) {
	record, err := RecordOf(disk)
	if err != nil {
		return attach.Decision{}, err
	}
	if attach.Shared(record.Access, record.Mode) {
		// As far as Kubernetes knows, these hosts may connect, or are connected still.
		record.Departed = append(record.Departed, c.nodes.OthersGranted(disk.ID.String(), record)...)
	}
	policy := attach.Policy{Grace: c.config.GracePeriod, AllowUnfenced: c.config.AllowUnfenced}
	decision := attach.Decide(wanted, record, nil, time.Now(), policy)
	if decision.Verdict == attach.Unknown {
		// Another node has the volume. Only this case needs live answers about the holders.
		holders := c.nodes.HolderStates(ctx, disk.ID.String(), record.Holders)
		decision = attach.Decide(wanted, record, holders, time.Now(), policy)
	}
	c.observer.Decided(decision.Verdict)
	return decision, nil
}
