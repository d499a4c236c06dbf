package restart

// Action is what is done about one pod. Its value is a label of a metric.
type Action string

// The actions.
const (
	// ActionNone: the pod isn't lost, or it is being deleted already. It is the zero value's meaning, too.
	ActionNone Action = "none"
	// ActionNoController: the pod is lost, and nobody would replace it, so people are told.
	ActionNoController Action = "no_controller"
	// ActionWait: the pod is lost, but enough pods of its workload are being restarted.
	ActionWait Action = "wait"
	// ActionRestart: the pod was lost and has been deleted.
	ActionRestart Action = "restart"
	// ActionWithhold: the pod would have been deleted if that was switched on.
	ActionWithhold Action = "withhold"
	// ActionRecheck: the cache is behind the API server. The workload is looked at again soon.
	ActionRecheck Action = "recheck"
	// ActionError: a request failed. The workload is looked at again with back-off.
	ActionError Action = "error"
)

// Actions returns every action, so that each can be counted from zero.
func Actions() []Action {
	return []Action{ActionNone, ActionNoController, ActionWait, ActionRestart, ActionWithhold, ActionRecheck, ActionError}
}

// rounding keeps a share such as 0.29 of 100 from counting as 28.
const rounding = 1e-9

// Decide returns what is to be done about a pod, one of ActionNone, ActionNoController, ActionWait and ActionRestart, and
// the report it is for. It handles any input and has no side effects. others are the other pods of the pod's controller,
// missing is how many more there were that have no replacement yet, and share is how much of the workload may be
// restarted at a time.
//
// A lost pod that isn't Ready doesn't count as being restarted: it waits for that, and others must not wait for it.
func Decide(pod Pod, others []Pod, missing int, share float64) (Action, Report) {
	report, lost := pod.lost()
	switch {
	case !lost:
		return ActionNone, Report{}
	case pod.Controller.UID == "":
		return ActionNoController, report
	}
	all, away := 1+missing, missing
	for _, other := range others {
		if other.Ended {
			continue
		}
		all++
		if _, lost := other.lost(); other.Terminating || !other.Ready && !lost {
			away++
		}
	}
	if away >= max(1, int(share*float64(all)+rounding)) {
		return ActionWait, report
	}
	return ActionRestart, report
}
