package restart

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"k8s.io/klog/v2"
)

// work looks at every lost pod of a workload. It returns the delay until the next look if no event comes before; 0 means
// that none is needed.
func (r *Reconciler) work(ctx context.Context, workload string) (again time.Duration, err error) {
	cached := r.cluster.CachedWorkload(workload)
	var errs []error
	for _, pod := range inOrder(cached) {
		action, err := r.look(ctx, pod, cached)
		r.observer.Done(action)
		if action == ActionRecheck {
			again = recheckAfter
		}
		errs = append(errs, err)
	}
	return again, errors.Join(errs...)
}

// inOrder returns the pods with a report. Those that serve nobody come first.
func inOrder(cached []Pod) []Pod {
	pods := slices.DeleteFunc(slices.Clone(cached), func(pod Pod) bool { return len(pod.Reports) == 0 })
	rank := func(pod Pod) int {
		if pod.Ready {
			return 1
		}
		return 0
	}
	slices.SortFunc(pods, func(a, b Pod) int { return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.Name, b.Name)) })
	return pods
}

// look does what is to be done about one pod with a report.
func (r *Reconciler) look(ctx context.Context, pod Pod, cached []Pod) (Action, error) {
	logger := klog.FromContext(ctx).WithValues("pod", klog.KRef(pod.Namespace, pod.Name), "controller", pod.Controller.Kind+"/"+pod.Controller.Name)
	action, report := r.decide(pod, cached)
	logger = logger.WithValues("volume", report.Volume, "claim", report.Claim, "reason", report.Reason)
	switch action {
	case ActionNoController:
		if r.config.Enabled && r.told.first(pod, report) {
			logger.Info("A pod's volume is lost, and no controller would replace the pod")
			r.observer.Note(withoutController(pod, report))
		}
		return action, nil
	case ActionRestart:
	default:
		return action, nil
	}
	if !r.config.Enabled {
		if r.told.first(pod, report) {
			logger.Info("A pod's volume is lost; with --restart-pods-on-lost-volumes the pod would be deleted")
			r.observer.Withheld(report.Reason)
		}
		return ActionWithhold, nil
	}
	return r.confirm(klog.NewContext(ctx, logger), pod, cached)
}

// confirm deletes a pod if the API server itself says that it is lost.
func (r *Reconciler) confirm(ctx context.Context, pod Pod, cached []Pod) (Action, error) {
	live, err := r.cluster.LivePod(ctx, pod.Namespace, pod.Name)
	switch {
	case errors.Is(err, ErrGone):
		return ActionRecheck, nil
	case err != nil:
		return ActionError, err
	case live.UID != pod.UID || live.Workload() != pod.Workload():
		return ActionRecheck, nil
	}
	if !live.Terminating {
		r.replacements.forget(live) // an earlier deletion of it, whose answer was lost, didn't come to pass
	}
	action, report := r.decide(live, cached)
	if action != ActionRestart {
		return ActionRecheck, nil
	}
	// From now on it counts as being restarted, whatever becomes of the answer.
	r.replacements.begin(live, cached)
	switch err := r.cluster.DeletePod(ctx, live); {
	case errors.Is(err, ErrGone):
		return ActionRecheck, nil
	case errors.Is(err, ErrChanged):
		r.replacements.forget(live)
		return ActionRecheck, nil
	case err != nil:
		return ActionError, fmt.Errorf("restart a pod: %w", err)
	}
	klog.FromContext(ctx).Info("Deleted a pod whose volume is lost, so that its controller replaces it")
	r.observer.Restarted(report.Reason)
	r.observer.Note(restarted(live, report))
	return ActionRestart, nil
}

// decide decides about a pod, by what the cache has of the others of its workload.
func (r *Reconciler) decide(pod Pod, cached []Pod) (Action, Report) {
	others, missing := r.replacements.seen(pod.Workload(), cached)
	others = slices.DeleteFunc(others, func(other Pod) bool { return other.UID == pod.UID })
	return Decide(pod, others, missing, r.config.Share)
}
