package attach

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/klog/v2"
)

// Action is what a worker did about one attachment, as logs and metrics name it.
type Action string

// The actions.
const (
	// ActionNone: the attachment is in order, being detached already, or gone.
	ActionNone Action = "none"
	// ActionSkip: the attachment isn't one that can be judged, so nothing is ever done about it.
	ActionSkip Action = "skip"
	// ActionRecheck: the cache is behind the API server about the node or the attachment; it is looked at again soon.
	ActionRecheck Action = "recheck"
	// ActionWaitForPods: the attachment is stale or dead, but pods bound to its node still use the volume.
	ActionWaitForPods Action = "wait_for_pods"
	// ActionPaused: the attachment is stale, but too many nodes vanished at once.
	ActionPaused Action = "hold"
	// ActionClear: the attachment was stale and has been deleted.
	ActionClear Action = "clear"
	// ActionClearDead: the attachment was dead, though its node lives, and has been deleted.
	ActionClearDead Action = "clear_dead"
	// ActionInUse: the attachment or what was given with it is another machine's than its node is, but the node reports the
	// volume as in use: it may be the same machine, which changed its identity. It is looked at again when that changes.
	ActionInUse Action = "in_use"
	// ActionRestore: the appliance went back in time or lost the export, and the volume was given back to whom it belongs.
	ActionRestore Action = "restore"
	// ActionDetachStuck: the attachment has been deleting for too long.
	ActionDetachStuck Action = "detach_stuck"
	// ActionError: something couldn't be found out or done; it is tried again with back-off.
	ActionError Action = "error"
)

// Actions lists every action, so that each can be counted from zero.
func Actions() []Action {
	return []Action{
		ActionNone, ActionSkip, ActionRecheck, ActionWaitForPods, ActionPaused, ActionClear, ActionClearDead,
		ActionInUse, ActionRestore, ActionDetachStuck, ActionError,
	}
}

// Result is what came of looking at an attachment.
type Result struct {
	Action Action
	// Again is when to look again even if nothing happens to it; 0 stands for not at all.
	Again time.Duration
}

// recheckAfter is when a worker comes back where a cache is behind the API server, which watches mend in well
// under a second.
const recheckAfter = 2 * time.Second

// Work looks at one attachment, and deletes it if it is stale (its node is proven gone) or dead (the appliance will never
// again admit what it stands for). On an error it is to be looked at again, with back-off.
func (r *Reconciler) Work(ctx context.Context, name string) (Result, error) {
	attachment, found := r.cluster.CachedAttachment(name)
	if !found {
		return Result{Action: ActionNone}, nil
	}
	logger := klog.FromContext(ctx).WithValues("attachment", name, "node", attachment.NodeName, "pv", attachment.PV, "volume", attachment.Volume)
	ctx = klog.NewContext(ctx, logger)
	if reason := unfit(attachment); reason != "" {
		logger.V(2).Info("Left an attachment alone: it can't be judged", "reason", reason)
		return Result{Action: ActionSkip}, nil
	}
	if attachment.Detaching() {
		return r.watchDetaching(ctx, attachment), nil
	}
	if node, found := r.cluster.CachedNode(attachment.NodeName); found && node.IsMachine(attachment.Machine()) {
		return r.checkGrant(ctx, attachment)
	}
	return r.clearStale(ctx, attachment)
}

// unfit says why an attachment can't be judged, or nothing if it can.
func unfit(attachment Attachment) string {
	switch {
	case attachment.NodeName == "":
		return "it names no node"
	case attachment.PV == "":
		return "it names no PersistentVolume"
	case attachment.Volume == "":
		return "its PersistentVolume is unknown or not of this driver"
	case attachment.NodeID != "" && attachment.Machine() == "":
		return "its node ID can't be understood"
	default:
		return ""
	}
}

// watchDetaching tells people of a detach that doesn't end. It is never forced: only external-attacher knows whether
// access was revoked.
func (r *Reconciler) watchDetaching(ctx context.Context, attachment Attachment) Result {
	since := time.Since(attachment.DetachingSince)
	if since < r.config.StuckAfter {
		return Result{Action: ActionNone, Again: min(r.config.StuckAfter-since, r.config.StuckAfter)}
	}
	klog.FromContext(ctx).Info("An attachment has been deleting for too long; see external-attacher's log", "since", attachment.DetachingSince)
	r.observer.Note(Note{
		Reason: DetachStuck, Warning: true, PV: attachment.PV, Node: attachment.NodeName,
		Message: fmt.Sprintf("VolumeAttachment %s has been deleting since %s: the volume could not be detached from node %s. See the log of external-attacher; nothing is forced.",
			attachment.Name, attachment.DetachingSince.UTC().Format(time.RFC3339), attachment.NodeName),
	})
	return Result{Action: ActionDetachStuck}
}

// clearStale deletes an attachment whose machine isn't in the cache, once the API server itself has said that it is gone.
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
		klog.FromContext(ctx).Info("Left an attachment alone: the API server has its node, though the cache doesn't")
		return Result{Action: ActionRecheck, Again: recheckAfter}, nil
	case changed:
		return r.leaveInUse(ctx, attachment, node.Value), nil
	case absent:
	}
	if left := r.observer.PausedFor(); left > 0 {
		klog.FromContext(ctx).Info("Attachment is stale, but too many nodes vanished at once; holding", "reason", reason, "for", left)
		return Result{Action: ActionPaused, Again: left}, nil
	}
	result, err := r.deleteUnused(ctx, attachment, reason)
	if err != nil || result.Action != ActionClear {
		return result, err
	}
	r.observer.Note(Note{
		Reason: StaleAttachmentCleared, PV: attachment.PV, Node: attachment.NodeName,
		Message: fmt.Sprintf("Deleted VolumeAttachment %s: %s (%s). The volume can be attached elsewhere once access is revoked.", attachment.Name, reason, attachment.NodeName),
	})
	return result, nil
}

// leaveInUse tells people of an attachment whose machine is another by its identity, though its node uses the volume.
func (r *Reconciler) leaveInUse(ctx context.Context, attachment Attachment, node Node) Result {
	klog.FromContext(ctx).Info("Left an attachment alone: another machine has the name of its node, but reports the volume as in use", "machine", attachment.Machine(), "reports", node.Machine)
	r.observer.Note(Note{
		Reason: MachineIdentityChanged, Warning: true, PV: attachment.PV, Node: attachment.NodeName,
		Message: fmt.Sprintf("VolumeAttachment %s was made for machine %s. Node %s reports machine %s by now, and the volume as in use: either its machine changed its identity while it ran, or pods wait there that were bound to an earlier machine. Keep pods that use the volume away from node %s until it no longer reports that; nothing is cleared before.",
			attachment.Name, attachment.Machine(), node.Name, node.Machine, node.Name),
	})
	return Result{Action: ActionInUse}
}

// deleteUnused deletes an attachment that is proven useless, as soon as no pod on its node uses the volume: sooner, the
// attach-detach controller would make it again.
func (r *Reconciler) deleteUnused(ctx context.Context, attachment Attachment, reason string) (Result, error) {
	logger := klog.FromContext(ctx)
	pods, err := r.cluster.PodsUsing(ctx, attachment)
	if err != nil {
		return Result{Action: ActionError}, fmt.Errorf("find the pods that use attachment %s: %w", attachment.Name, err)
	}
	if len(pods) > 0 {
		logger.Info("Attachment is to be cleared; waiting for the pods on its node that use the volume to go", "reason", reason, "pods", pods)
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
