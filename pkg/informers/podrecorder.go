package informers

import (
	"fmt"
	"hash/fnv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/restart"
)

// podReporter is the component that a PodRecorder's events name as their source.
const podReporter = "rds-csi-pod-restarter"

// PodRecorder writes notes about pods as Kubernetes Events.
type PodRecorder struct{ *eventWriter }

// NewPodRecorder returns a recorder. It writes nothing before Run. dropped is called for each note that is lost because
// too many wait already. It must not block.
func NewPodRecorder(client kubernetes.Interface, dropped func()) *PodRecorder {
	return &PodRecorder{newEventWriter(client, podReporter, dropped)}
}

// Record has a note written soon, as eventWriter.enqueue does. A pod gets one Event for each reason and message, also if
// several processes write it one after the other.
func (r *PodRecorder) Record(note restart.Note) {
	pod := corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: note.Namespace, Name: note.Name, UID: types.UID(note.UID)}
	hash := fnv.New64a()
	_, _ = fmt.Fprint(hash, note.UID, "/", note.Reason, "/", note.Message)
	r.enqueue(queuedEvent{
		objects: func() []corev1.ObjectReference { return []corev1.ObjectReference{pod} },
		name:    fmt.Sprintf("%s.%016x", note.Name, hash.Sum64()),
		reason:  string(note.Reason), message: note.Message, warning: note.Warning,
	})
}
