package attach

import (
	"context"
	"fmt"

	"k8s.io/klog/v2"
)

// checkGrant checks an attachment whose node lives. The attachment is dead if the appliance will never again admit its
// grant, or if the grant is for another machine. kubelet would then retry for ever, so the attachment is deleted. A
// volume that the appliance lost is restored instead.
func (r *Reconciler) checkGrant(ctx context.Context, attachment Attachment) (Result, error) {
	if !attachment.Attached || attachment.Grant == (Grant{}) {
		return Result{Action: ActionNone}, nil
	}
	// The remembered record only shows whether it is worth a command to read the current one. If none is remembered, the
	// next resync reads every record.
	seen, known := r.appliance.SeenRecord(attachment.Volume)
	if !known || grantUsable(seen, attachment) {
		return Result{Action: ActionNone}, nil
	}
	// The attachment is confirmed before the record is read. An epoch never comes back, so a grant that the later record
	// doesn't name is dead for good.
	live := r.cluster.LiveAttachment(ctx, attachment.Name)
	switch {
	case live.Err != nil:
		return Result{Action: ActionError}, fmt.Errorf("confirm attachment %s: %w", attachment.Name, live.Err)
	case !live.Found || live.Value.UID != attachment.UID || live.Value.NodeID != attachment.NodeID || live.Value.Grant != attachment.Grant || live.Value.Detaching():
		return Result{Action: ActionRecheck, Again: recheckAfter}, nil
	}
	record := r.appliance.Record(ctx, attachment.Volume)
	switch {
	case record.Err != nil:
		return Result{Action: ActionError}, fmt.Errorf("read the record of volume %s: %w", attachment.Volume, record.Err)
	case !record.Found:
		klog.FromContext(ctx).Info("An attached volume has no disk on the appliance")
		return Result{Action: ActionNone}, nil
	case grantUsable(record.Value, attachment):
		return Result{Action: ActionNone}, nil
	case record.Value.WentBack(attachment.Grant.Generation), record.Value.Admits(attachment.Grant) && !attachment.ForAnother():
		if err := r.appliance.Restore(ctx, attachment.Volume); err != nil {
			return Result{Action: ActionError}, fmt.Errorf("restore volume %s: %w", attachment.Volume, err)
		}
		return Result{Action: ActionRestore, Again: recheckAfter}, nil
	}
	return r.clearDead(ctx, live.Value, record.Value)
}

// grantUsable reports whether the node can use its grant: the record admits it, the volume is reachable, the appliance
// didn't go back in time, and the grant is for this machine.
func grantUsable(record Record, attachment Attachment) bool {
	return record.Admits(attachment.Grant) && record.Reachable && !record.WentBack(attachment.Grant.Generation) && !attachment.ForAnother()
}

// clearDead deletes a dead attachment, unless a pod still uses the volume. Then it reports that the pod must be
// deleted.
func (r *Reconciler) clearDead(ctx context.Context, attachment Attachment, record Record) (Result, error) {
	remove := r.deleteUnused
	reason := fmt.Sprintf("the appliance no longer admits node %s: the volume is held by %v", attachment.NodeName, record.Holders)
	if attachment.ForAnother() {
		reason = fmt.Sprintf("access was granted to machine %s, but node %s is machine %s now", attachment.Grant.Node.Machine, attachment.NodeName, attachment.Machine())
		remove = r.deleteNotInUse
	}
	result, err := remove(ctx, attachment, reason)
	note := Note{PV: attachment.PV, Node: attachment.NodeName}
	switch result.Action {
	case ActionWaitForPods, ActionInUse:
		note.Reason, note.Warning = AttachmentDead, true
		note.Message = fmt.Sprintf("Access through VolumeAttachment %s has ended: %s. Delete the pod on node %s that uses the volume; then it can be attached anew.", attachment.Name, reason, attachment.NodeName)
	case ActionClear:
		result.Action = ActionClearDead
		note.Reason = DeadAttachmentCleared
		note.Message = fmt.Sprintf("Deleted VolumeAttachment %s: %s.", attachment.Name, reason)
	default:
		return result, err
	}
	r.observer.Note(note)
	return result, err
}

// deleteNotInUse is deleteUnused for an attachment whose grant is for another machine. The appliance may still admit
// that machine, and it may be this one under an earlier identity. So it must not lose access while it uses the volume.
func (r *Reconciler) deleteNotInUse(ctx context.Context, attachment Attachment, reason string) (Result, error) {
	node := r.cluster.LiveNode(ctx, attachment.NodeName)
	switch {
	case node.Err != nil:
		return Result{Action: ActionError}, fmt.Errorf("ask for node %s of attachment %s: %w", attachment.NodeName, attachment.Name, node.Err)
	case node.Found && node.Value.Uses(attachment.Volume):
		klog.FromContext(ctx).Info("An attachment is to be cleared once its node no longer reports the volume as in use", "reason", reason)
		return Result{Action: ActionInUse}, nil
	default:
		return r.deleteUnused(ctx, attachment, reason)
	}
}
