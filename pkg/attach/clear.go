package attach

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/klog/v2"
)

// Action is what a worker did about one attachment. Its value is a label of a metric.
type Action string

// The actions.
const (
	// ActionNone: the attachment is valid, detaching already, or gone.
	ActionNone Action = "none"
	// ActionSkip: the attachment can't be judged, so it is left alone.
	ActionSkip Action = "skip"
	// ActionRecheck: the cache is behind the API server. The attachment is checked again soon.
	ActionRecheck Action = "recheck"
	// ActionWaitForPods: the attachment is stale or dead, but pods bound to its node still use the volume.
	ActionWaitForPods Action = "wait_for_pods"
	// ActionPaused: the attachment is stale, but too many nodes vanished at once.
	ActionPaused Action = "hold"
	// ActionClear: the attachment was stale and has been deleted.
	ActionClear Action = "clear"
	// ActionClearDead: the attachment was dead, though its node lives, and has been deleted.
	ActionClearDead Action = "clear_dead"
	// ActionInUse: the attachment or its grant is for another machine, but the node reports the volume as in use. It may
	// be the same machine under a new identity. The attachment is checked again when the node's report changes.
	ActionInUse Action = "in_use"
	// ActionRestore: the appliance went back in time or lost the export, and the volume was given back to its holder.
	ActionRestore Action = "restore"
	// ActionDetachStuck: the attachment has been detaching for too long.
	ActionDetachStuck Action = "detach_stuck"
	// ActionError: a request failed. The attachment is checked again with back-off.
	ActionError Action = "error"
)

// Actions returns every action, so that each can be counted from zero.
func Actions() []Action {
	return []Action{
		ActionNone, ActionSkip, ActionRecheck, ActionWaitForPods, ActionPaused, ActionClear, ActionClearDead,
		ActionInUse, ActionRestore, ActionDetachStuck, ActionError,
	}
}

// Result is the result of the work on one attachment.
type Result struct {
	Action Action
	// Again is the delay until the next check if no event comes before; 0 means that none is needed.
	Again time.Duration
}

// recheckAfter is the delay until the next check if a cache is behind the API server. A watch usually catches up in
// well under a second.
const recheckAfter = 2 * time.Second

// Work checks one attachment, and deletes it if it is stale or dead. After an error the caller must call it again, with
// back-off. It is safe for concurrent use with different names.
func (r *Reconciler) Work(ctx context.Context, name string) (Result, error) {
	attachment, found := r.cluster.CachedAttachment(name)
	if !found {
		r.progress.gone(name)
		return Result{Action: ActionNone}, nil
	}
	r.progress.saw(attachment)
	logger := klog.FromContext(ctx).WithValues("attachment", name, "node", attachment.NodeName, "pv", attachment.PV, "volume", attachment.Volume)
	ctx = klog.NewContext(ctx, logger)
	if err := CheckVersion(attachment.Volume); err != nil {
		return r.leaveVersion0(ctx, attachment, err), nil
	}
	if reason := skipReason(attachment); reason != "" {
		logger.V(2).Info("Left an attachment alone: it can't be judged", "reason", reason)
		return Result{Action: ActionSkip}, nil
	}
	if attachment.Detaching() {
		return r.watchDetaching(ctx, attachment), nil
	}
	if node, found := r.cluster.CachedNode(attachment.NodeName); found && node.IsMachine(attachment.Machine()) {
		r.progress.notStale(attachment)
		return r.checkGrant(ctx, attachment)
	}
	return r.clearStale(ctx, attachment)
}

// skipReason returns why an attachment can't be judged. It is empty if the attachment can be judged.
func skipReason(attachment Attachment) string {
	switch {
	case attachment.NodeName == "":
		return "it names no node"
	case attachment.PV == "":
		return "it names no PersistentVolume"
	case attachment.Volume == "":
		return "its PersistentVolume is unknown or not of this driver"
	case attachment.NodeID != "" && attachment.Machine() == "":
		return "its node ID is invalid"
	default:
		return ""
	}
}

// leaveVersion0 leaves the attachment of a volume alone that v0.x made, whatever became of its node. Nothing would revoke the
// node's access, so the attachment is all that tells that its machine may still write. Only a detach that doesn't end is
// reported.
func (r *Reconciler) leaveVersion0(ctx context.Context, attachment Attachment, reason error) Result {
	if attachment.Detaching() {
		return r.watchDetaching(ctx, attachment)
	}
	if _, found := r.cluster.CachedNode(attachment.NodeName); !found {
		klog.FromContext(ctx).Info("Left an attachment alone, though its node seems to be gone: its access can't be revoked", "reason", reason.Error())
	}
	return Result{Action: ActionSkip}
}

// watchDetaching reports a detach that doesn't end. It never forces the detach: only external-attacher knows whether
// access was revoked.
func (r *Reconciler) watchDetaching(ctx context.Context, attachment Attachment) Result {
	since := time.Since(attachment.DetachingSince)
	if since < r.config.StuckAfter {
		return Result{Action: ActionNone, Again: min(r.config.StuckAfter-since, r.config.StuckAfter)}
	}
	klog.FromContext(ctx).Info("An attachment has been detaching for too long; see the log of external-attacher", "since", attachment.DetachingSince)
	r.observer.Note(Note{
		Reason: DetachStuck, Warning: true, PV: attachment.PV, Node: attachment.NodeName,
		Message: fmt.Sprintf("VolumeAttachment %s has been deleting since %s: the volume could not be detached from node %s. See the log of external-attacher; nothing is forced.",
			attachment.Name, attachment.DetachingSince.UTC().Format(time.RFC3339), attachment.NodeName),
	})
	return Result{Action: ActionDetachStuck}
}

// clearStale deletes an attachment whose machine isn't in the cache, if the API server itself confirms that it is gone.
func (r *Reconciler) clearStale(ctx context.Context, attachment Attachment) (Result, error) {
	node := r.cluster.LiveNode(ctx, attachment.NodeName)
	reason := "the node was deleted"
	if node.Found {
		reason = "another machine has taken the node's name"
	}
	switch presenceOf(attachment.Machine(), attachment.Volume, attachment.Since, node) {
	case presenceUnknown:
		return Result{Action: ActionError}, fmt.Errorf("ask for node %s of attachment %s, which is not cleared until this is answered: %w", attachment.NodeName, attachment.Name, node.Err)
	case present:
		r.progress.notStale(attachment)
		klog.FromContext(ctx).Info("Left an attachment alone: the API server has its node, but the cache doesn't yet")
		return Result{Action: ActionRecheck, Again: recheckAfter}, nil
	case identityChanged:
		r.progress.notStale(attachment)
		return r.keepInUse(ctx, attachment, node.Value), nil
	case absent:
		r.progress.foundStale(attachment)
	}
	if left := r.observer.PausedFor(); left > 0 {
		klog.FromContext(ctx).Info("An attachment is stale, but clearing is paused or hasn't begun", "reason", reason, "for", left)
		return Result{Action: ActionPaused, Again: left}, nil
	}
	result, err := r.deleteUnused(ctx, attachment, reason)
	if err != nil || result.Action != ActionClear {
		return result, err
	}
	r.progress.cleared(attachment, r.othersAttached(attachment))
	r.observer.Note(Note{
		Reason: StaleAttachmentCleared, PV: attachment.PV, Node: attachment.NodeName,
		Message: fmt.Sprintf("Deleted VolumeAttachment %s: %s (%s). The volume can be attached elsewhere once access is revoked.", attachment.Name, reason, attachment.NodeName),
	})
	return result, nil
}

// othersAttached returns the UIDs of the other attachments by which the volume is attached.
func (r *Reconciler) othersAttached(attachment Attachment) []string {
	var uids []string
	for _, other := range r.cluster.CachedAttachmentsOf(attachment.Volume) {
		if other.Attached && other.UID != attachment.UID {
			uids = append(uids, other.UID)
		}
	}
	return uids
}

// keepInUse reports an attachment for another machine than its Node reports, while that Node reports the volume as in
// use.
func (r *Reconciler) keepInUse(ctx context.Context, attachment Attachment, node Node) Result {
	klog.FromContext(ctx).Info("Left an attachment alone: its node is another machine now, but reports the volume as in use", "machine", attachment.Machine(), "reports", node.Machine)
	r.observer.Note(Note{
		Reason: MachineIdentityChanged, Warning: true, PV: attachment.PV, Node: attachment.NodeName,
		Message: fmt.Sprintf("VolumeAttachment %s was made for machine %s. Node %s now reports machine %s, and the volume as in use. Either its machine changed its identity while it ran, or pods of an earlier machine wait there. Keep pods that use the volume away from node %s until it no longer reports the volume as in use; nothing is cleared before.",
			attachment.Name, attachment.Machine(), node.Name, node.Machine, node.Name),
	})
	return Result{Action: ActionInUse}
}

// deleteUnused deletes an attachment that is stale or dead, unless a pod on its node still uses the volume. While one
// does, the attach-detach controller would create the attachment again.
func (r *Reconciler) deleteUnused(ctx context.Context, attachment Attachment, reason string) (Result, error) {
	logger := klog.FromContext(ctx)
	pods, err := r.cluster.PodsUsing(ctx, attachment)
	if err != nil {
		return Result{Action: ActionError}, fmt.Errorf("find the pods that use attachment %s: %w", attachment.Name, err)
	}
	r.progress.askedForPods(attachment, len(pods))
	if len(pods) > 0 {
		logger.Info("An attachment is to be cleared once no pod on its node uses the volume", "reason", reason, "pods", pods)
		return Result{Action: ActionWaitForPods}, nil
	}
	err = r.cluster.DeleteAttachment(ctx, attachment)
	if errors.Is(err, ErrChanged) {
		logger.V(2).Info("Left an attachment alone: it has changed since it was judged")
		return Result{Action: ActionRecheck, Again: recheckAfter}, nil
	}
	if err != nil {
		return Result{Action: ActionError}, fmt.Errorf("delete attachment %s of node %s: %w", attachment.Name, attachment.NodeName, err)
	}
	logger.Info("Cleared an attachment", "reason", reason, "machine", attachment.Machine())
	return Result{Action: ActionClear}, nil
}
