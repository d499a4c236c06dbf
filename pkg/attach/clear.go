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
	// ActionRecheck: the cache is behind the API server about the node or the attachment; it is looked at again soon.
	ActionRecheck Action = "recheck"
	// ActionWaitForPods: the attachment is stale, but pods bound to its node still use the volume.
	ActionWaitForPods Action = "wait_for_pods"
	// ActionClear: the attachment was stale and has been deleted.
	ActionClear Action = "clear"
	// ActionError: something couldn't be found out or done; it is tried again with back-off.
	ActionError Action = "error"
)

// Actions lists every action, so that each can be counted from zero.
func Actions() []Action {
	return []Action{ActionNone, ActionRecheck, ActionWaitForPods, ActionClear, ActionError}
}

// recheckAfter is when a worker comes back where a cache is behind the API server, which watches mend in well
// under a second.
const recheckAfter = 2 * time.Second

// clear looks at one attachment and deletes it if it is stale.
func (r *Reconciler) clear(ctx context.Context, name string) (Action, error) {
	attachment, found := r.cluster.CachedAttachment(name)
	if !found || attachment.Detaching() {
		return ActionNone, nil
	}
	logger := klog.FromContext(ctx).WithValues("attachment", name, "node", attachment.NodeName, "pv", attachment.PV)
	if node, found := r.cluster.CachedNode(attachment.NodeName); found && node.IsMachine(attachment.Machine()) {
		return ActionNone, nil
	}
	reason, err := r.proveStale(ctx, attachment)
	if err != nil {
		return ActionError, err
	}
	if reason == "" {
		logger.Info("Left an attachment alone: the API server has its node, though the cache doesn't")
		return ActionRecheck, nil
	}
	pods, err := r.cluster.PodsUsing(ctx, attachment)
	if err != nil {
		return ActionError, fmt.Errorf("find the pods that use attachment %s: %w", name, err)
	}
	if len(pods) > 0 {
		logger.Info("Attachment is stale; waiting for the pods on its node that use the volume to go", "reason", reason, "pods", pods)
		return ActionWaitForPods, nil
	}
	err = r.cluster.DeleteAttachment(ctx, attachment)
	if errors.Is(err, ErrChanged) {
		logger.V(2).Info("Left an attachment alone: it has changed since it was judged")
		return ActionRecheck, nil
	}
	if err != nil {
		return ActionError, fmt.Errorf("delete stale attachment %s of node %s: %w", name, attachment.NodeName, err)
	}
	logger.Info("Cleared a stale attachment", "reason", reason, "machine", attachment.Machine())
	return ActionClear, nil
}

// proveStale asks the API server itself. It returns why the attachment is stale, or nothing if its machine may live.
func (r *Reconciler) proveStale(ctx context.Context, attachment Attachment) (reason string, err error) {
	node := r.cluster.LiveNode(ctx, attachment.NodeName)
	switch {
	case node.Err != nil:
		return "", fmt.Errorf("ask for node %s of attachment %s, which is not cleared until this is answered: %w", attachment.NodeName, attachment.Name, node.Err)
	case !node.Found:
		return "the node was deleted", nil
	case !node.Value.IsMachine(attachment.Machine()):
		return "another machine has taken the node's name", nil
	default:
		return "", nil
	}
}
