package informers

import (
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/types"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
)

// reporter is the component that a Recorder's events name as their source.
const reporter = "rds-csi-controller"

// Recorder writes notes as Kubernetes Events on the objects that they are about.
type Recorder struct {
	*eventWriter
	cluster *Cluster
	// driver are the objects that stand for the driver.
	driver []corev1.ObjectReference
}

// NewRecorder returns a recorder. It writes nothing before Run. dropped is called for each note that is lost because
// too many wait already. It must not block. What is about no volume and no node is written on the CSIDriver and on those of
// pods.
func NewRecorder(cluster *Cluster, dropped func(), pods ...corev1.ObjectReference) *Recorder {
	driver := corev1.ObjectReference{APIVersion: storagev1.SchemeGroupVersion.String(), Kind: "CSIDriver", Name: cluster.driver}
	return &Recorder{eventWriter: newEventWriter(cluster.client, reporter, dropped), cluster: cluster, driver: append(pods, driver)}
}

// Record has a note written soon, as eventWriter.enqueue does.
func (r *Recorder) Record(note attach.Note) {
	r.enqueue(queuedEvent{
		objects: func() []corev1.ObjectReference { return r.objects(note) },
		reason:  string(note.Reason), message: note.Message, warning: note.Warning,
	})
}

// objects returns the objects that a note is about: volume and claim, the node, or else the driver.
func (r *Recorder) objects(note attach.Note) []corev1.ObjectReference {
	var objects []corev1.ObjectReference
	pvs := []string{note.PV}
	if note.PV == "" {
		pvs = r.cluster.pvsOf(note.Volume) // none if the cache doesn't know the handle
	}
	for _, pv := range pvs {
		objects = append(objects, r.volumeObjects(pv)...)
	}
	if note.Node != "" {
		// kubelet writes the node's name instead of the UID. "kubectl describe node" finds events that way, and it also works
		// if the Node object is gone.
		objects = append(objects, corev1.ObjectReference{APIVersion: "v1", Kind: "Node", Name: note.Node, UID: types.UID(note.Node)})
	}
	if len(objects) == 0 {
		return r.driver
	}
	return objects
}

// volumeObjects returns the PersistentVolume and the claim that is bound to it.
func (r *Recorder) volumeObjects(pv string) []corev1.ObjectReference {
	volume, err := r.cluster.factory.Core().V1().PersistentVolumes().Lister().Get(pv)
	if err != nil {
		// It is gone or not cached yet. Its name still shows what the event is about.
		return []corev1.ObjectReference{{APIVersion: "v1", Kind: "PersistentVolume", Name: pv}}
	}
	objects := []corev1.ObjectReference{{APIVersion: "v1", Kind: "PersistentVolume", Name: pv, UID: volume.UID}}
	if claim := volume.Spec.ClaimRef; claim != nil {
		objects = append(objects, corev1.ObjectReference{
			APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID,
		})
	}
	return objects
}
