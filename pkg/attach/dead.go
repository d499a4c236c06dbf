package attach

import (
	"context"
	"fmt"

	"k8s.io/klog/v2"
)

// checkGrant looks at an attachment whose node lives: does the appliance still admit what the node was given, and was that given
// to this machine? If it never will again, or wasn't, a kubelet that relies on the attachment would try for ever.
func (r *Reconciler) checkGrant(ctx context.Context, attachment Attachment) (Result, error) {
	if !attachment.Attached || attachment.Grant == (Grant{}) {
		return Result{Action: ActionNone}, nil
	}
	// The memory of the record only tells whether a closer look is worth an exec. Where there is none, the next resync
	// reads every record at once.
	seen, known := r.appliance.SeenRecord(attachment.Volume)
	if !known || inOrder(seen, attachment) {
		return Result{Action: ActionNone}, nil
	}
	// The attachment is confirmed before the record is read: epochs never come back, so a grant that was valid when it
	// was issued and that a later record doesn't name is dead for good.
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
	case inOrder(record.Value, attachment):
		return Result{Action: ActionNone}, nil
	case record.Value.WentBack(attachment.Grant.Generation), record.Value.Admits(attachment.Grant) && !attachment.ForAnother():
		if err := r.appliance.Restore(ctx, attachment.Volume); err != nil {
			return Result{Action: ActionError}, fmt.Errorf("restore volume %s: %w", attachment.Volume, err)
		}
		return Result{Action: ActionRestore, Again: recheckAfter}, nil
	}
	return r.clearDead(ctx, live.Value, record.Value)
}

// inOrder tells whether the node can reach what it was granted, and will.
func inOrder(record Record, attachment Attachment) bool {
	return record.Admits(attachment.Grant) && record.Reachable && !record.WentBack(attachment.Grant.Generation) && !attachment.ForAnother()
}

// clearDead deletes an attachment that the appliance will never again admit, unless a pod still uses it: then only people
// can decide.
func (r *Reconciler) clearDead(ctx context.Context, attachment Attachment, record Record) (Result, error) {
	reason, remove := fmt.Sprintf("the appliance no longer admits node %s: the volume is held by %v", attachment.NodeName, record.Holders), r.deleteUnused
	if attachment.ForAnother() {
		reason = fmt.Sprintf("access was given to machine %s, but node %s is machine %s by now", attachment.Grant.Node.Machine, attachment.NodeName, attachment.Machine())
		remove = r.deleteOutOfUse
	}
	result, err := remove(ctx, attachment, reason)
	note := Note{PV: attachment.PV, Node: attachment.NodeName}
	switch result.Action {
	case ActionWaitForPods, ActionInUse:
		note.Reason, note.Warning = AttachmentDead, true
		note.Message = fmt.Sprintf("Access through VolumeAttachment %s has ended: %s. Delete the pod on node %s that uses the volume; it can be attached anew then.", attachment.Name, reason, attachment.NodeName)
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

// deleteOutOfUse is deleteUnused for an attachment of which the appliance may still admit a machine: that may be this one, under
// another identity, which must not be cut off while it uses the volume.
func (r *Reconciler) deleteOutOfUse(ctx context.Context, attachment Attachment, reason string) (Result, error) {
	node := r.cluster.LiveNode(ctx, attachment.NodeName)
	switch {
	case node.Err != nil:
		return Result{Action: ActionError}, fmt.Errorf("ask for node %s of attachment %s: %w", attachment.NodeName, attachment.Name, node.Err)
	case node.Found && node.Value.Uses(attachment.Volume):
		klog.FromContext(ctx).Info("Attachment is to be cleared; waiting for its node to report the volume as no longer in use", "reason", reason)
		return Result{Action: ActionInUse}, nil
	default:
		return r.deleteUnused(ctx, attachment, reason)
	}
}
