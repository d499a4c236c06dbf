package restart

import "fmt"

// Note is a message about a pod for people. It becomes a Kubernetes Event on the pod, one for each pod and reason.
type Note struct {
	Reason Reason
	// Warning makes the event a warning: somebody should look into it. Otherwise it only reports what was done.
	Warning bool
	// Namespace, Name and UID are the pod's.
	Namespace, Name, UID string
	// Message is one or two sentences: what happened, and what to do about it.
	Message string
}

// Reason is the reason of a Kubernetes Event: CamelCase, at most 128 characters. Scripts and alerts match on it, so a
// reason must never be renamed.
type Reason string

// The reasons.
const (
	// RestartedForLostVolume: a lost pod was deleted, so that its controller replaces it.
	RestartedForLostVolume Reason = "RestartedForLostVolume"
	// VolumeLost: a pod is lost and has no controller, so it was left alone.
	VolumeLost Reason = "VolumeLost"
)

func noteOf(pod Pod, reason Reason, message string) Note {
	return Note{Reason: reason, Warning: reason == VolumeLost, Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID, Message: message}
}

func restarted(pod Pod, report Report) Note {
	return noteOf(pod, RestartedForLostVolume, fmt.Sprintf("Deleted, so that %s %s replaces it: volume %s (claim %s) reports %s. The next pod gets a device that works.",
		pod.Controller.Kind, pod.Controller.Name, report.Volume, report.Claim, report.Reason))
}

func withoutController(pod Pod, report Report) Note {
	return noteOf(pod, VolumeLost, fmt.Sprintf("Volume %s (claim %s) reports %s and won't work in this pod again. No controller would replace the pod: delete it yourself and create it anew.",
		report.Volume, report.Claim, report.Reason))
}
