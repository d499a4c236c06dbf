package informers

import (
	"cmp"
	"strings"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
)

// nodeIDAnnotation is where external-attacher keeps the CSI node ID of an attachment, for when the CSINode is gone.
const nodeIDAnnotation = "csi.alpha.kubernetes.io/node-id"

// trim removes all fields that are never read from objects before they are cached. A watch can't leave out objects of
// other drivers, so they are reduced to their metadata.
type trim struct{ driver string }

// object is a cache.TransformFunc. It must be idempotent: the informer may apply it to an object twice.
func (t trim) object(obj any) (any, error) {
	switch obj := obj.(type) {
	case *corev1.Node:
		return t.node(obj), nil
	case *storagev1.VolumeAttachment:
		return t.attachment(obj), nil
	case *corev1.PersistentVolume:
		return t.volume(obj), nil
	case *corev1.Pod:
		return trimPod(obj), nil
	default:
		return obj, nil
	}
}

// lost is a cache.TransformFunc, too: that of the caches of Pods.
func (t trim) lost(obj any) (any, error) {
	switch obj := obj.(type) {
	case *corev1.Pod:
		return lostPod(obj), nil
	case *corev1.PersistentVolumeClaim:
		return lostClaim(obj), nil
	default:
		return t.object(obj)
	}
}

func (t trim) node(node *corev1.Node) *corev1.Node {
	trimmed := &corev1.Node{ObjectMeta: trimMeta(node.ObjectMeta)}
	for _, taint := range node.Spec.Taints {
		if taint.Key == corev1.TaintNodeOutOfService {
			trimmed.Spec.Taints = append(trimmed.Spec.Taints, taint)
		}
	}
	for _, volume := range node.Status.VolumesInUse {
		if strings.HasPrefix(string(volume), inUsePrefix(t.driver)) {
			trimmed.Status.VolumesInUse = append(trimmed.Status.VolumesInUse, volume)
		}
	}
	trimmed.Status.NodeInfo.SystemUUID = node.Status.NodeInfo.SystemUUID
	trimmed.Status.NodeInfo.MachineID = node.Status.NodeInfo.MachineID
	return trimmed
}

func (t trim) attachment(attachment *storagev1.VolumeAttachment) *storagev1.VolumeAttachment {
	trimmed := &storagev1.VolumeAttachment{ObjectMeta: trimMeta(attachment.ObjectMeta)}
	trimmed.Spec.Attacher = attachment.Spec.Attacher
	if attachment.Spec.Attacher != t.driver {
		return trimmed
	}
	if id, found := attachment.Annotations[nodeIDAnnotation]; found {
		trimmed.Annotations = map[string]string{nodeIDAnnotation: id}
	}
	trimmed.Spec.NodeName = attachment.Spec.NodeName
	trimmed.Spec.Source.PersistentVolumeName = attachment.Spec.Source.PersistentVolumeName
	trimmed.Status.Attached = attachment.Status.Attached
	trimmed.Status.AttachmentMetadata = attachment.Status.AttachmentMetadata
	return trimmed
}

func (t trim) volume(volume *corev1.PersistentVolume) *corev1.PersistentVolume {
	trimmed := &corev1.PersistentVolume{ObjectMeta: trimMeta(volume.ObjectMeta)}
	if volume.Spec.CSI == nil || volume.Spec.CSI.Driver != t.driver {
		return trimmed
	}
	trimmed.Spec.CSI = &corev1.CSIPersistentVolumeSource{Driver: t.driver, VolumeHandle: volume.Spec.CSI.VolumeHandle}
	if claim := volume.Spec.ClaimRef; claim != nil {
		trimmed.Spec.ClaimRef = &corev1.ObjectReference{Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID}
	}
	return trimmed
}

func trimPod(pod *corev1.Pod) *corev1.Pod {
	trimmed := &corev1.Pod{ObjectMeta: trimMeta(pod.ObjectMeta)}
	trimmed.Namespace = pod.Namespace
	trimmed.Spec.NodeName = pod.Spec.NodeName
	trimmed.Status.Phase = pod.Status.Phase
	for _, volume := range pod.Spec.Volumes {
		if volume.PersistentVolumeClaim != nil || volume.Ephemeral != nil {
			trimmed.Spec.Volumes = append(trimmed.Spec.Volumes, volume)
		}
	}
	return trimmed
}

// lostPod is what Pods caches of a pod, and lostClaim of a claim.
func lostPod(pod *corev1.Pod) *corev1.Pod {
	trimmed := trimPod(pod)
	if owner := metav1.GetControllerOf(pod); owner != nil {
		trimmed.OwnerReferences = []metav1.OwnerReference{{Kind: owner.Kind, Name: owner.Name, UID: owner.UID, Controller: owner.Controller}}
	}
	if hash, mirror := pod.Annotations[corev1.MirrorPodAnnotationKey]; mirror {
		trimmed.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: hash}
	}
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady || condition.Type == corev1.PodReadyToStartContainers {
			trimmed.Status.Conditions = append(trimmed.Status.Conditions, corev1.PodCondition{Type: condition.Type, Status: condition.Status})
		}
	}
	for _, volume := range pod.Status.VolumeHealth {
		reported := corev1.PodVolumeHealth{Name: volume.Name}
		for _, condition := range volume.HealthConditions {
			reported.HealthConditions = append(reported.HealthConditions, corev1.VolumeHealthCondition{Reason: condition.Reason})
		}
		// kubelet keeps the entry of a volume that is well again, without conditions.
		if len(reported.HealthConditions) > 0 {
			trimmed.Status.VolumeHealth = append(trimmed.Status.VolumeHealth, reported)
		}
	}
	return trimmed
}

func lostClaim(claim *corev1.PersistentVolumeClaim) *corev1.PersistentVolumeClaim {
	trimmed := &corev1.PersistentVolumeClaim{ObjectMeta: trimMeta(claim.ObjectMeta)}
	trimmed.Namespace, trimmed.Spec.VolumeName = claim.Namespace, claim.Spec.VolumeName
	return trimmed
}

func trimMeta(meta metav1.ObjectMeta) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: meta.Name, UID: meta.UID, ResourceVersion: meta.ResourceVersion, CreationTimestamp: meta.CreationTimestamp, DeletionTimestamp: meta.DeletionTimestamp}
}

func (c *Cluster) nodeOf(node *corev1.Node) attach.Node { return nodeOf(node, c.driver) }

// nodeOf converts a Node. driver is the CSI driver's name.
func nodeOf(node *corev1.Node, driver string) attach.Node {
	result := attach.Node{Name: node.Name, Since: node.CreationTimestamp.Time, Machine: machineOf(node), Leaving: node.DeletionTimestamp != nil}
	for _, taint := range node.Spec.Taints {
		result.Leaving = result.Leaving || taint.Key == corev1.TaintNodeOutOfService
	}
	for _, volume := range node.Status.VolumesInUse {
		if handle, ours := strings.CutPrefix(string(volume), inUsePrefix(driver)); ours {
			result.VolumesInUse = append(result.VolumesInUse, handle)
		}
	}
	return result
}

// machineOf returns the machine identity that a Node reports, in lower case: the first one that isn't a placeholder, else
// a placeholder. The node process on that machine determines the same one, or has it from --machine-id.
func machineOf(node *corev1.Node) string {
	reported := []string{node.Status.NodeInfo.SystemUUID, node.Status.NodeInfo.MachineID}
	for _, identity := range reported {
		if !attach.IsPlaceholder(identity) {
			return strings.ToLower(identity)
		}
	}
	return strings.ToLower(cmp.Or(reported...))
}

// inUsePrefix returns what precedes the handle of a volume of the driver in a Node's volumesInUse.
func inUsePrefix(driver string) string { return "kubernetes.io/csi/" + driver + "^" }

// attachmentOf converts a VolumeAttachment, without the handle of its volume.
func attachmentOf(attachment *storagev1.VolumeAttachment) attach.Attachment {
	result := attach.Attachment{
		Name:            attachment.Name,
		UID:             string(attachment.UID),
		ResourceVersion: attachment.ResourceVersion,
		NodeName:        attachment.Spec.NodeName,
		NodeID:          attachment.Annotations[nodeIDAnnotation],
		Attached:        attachment.Status.Attached,
		Since:           attachment.CreationTimestamp.Time,
		DetachingSince:  ptr.Deref(attachment.DeletionTimestamp, metav1.Time{}).Time,
		PV:              pvOf(attachment),
	}
	if attachment.Status.Attached {
		result.Grant, _ = attach.ParseGrant(attachment.Status.AttachmentMetadata)
	}
	return result
}

// pvOf returns the name of an attachment's PersistentVolume, or "" for an inline volume.
func pvOf(attachment *storagev1.VolumeAttachment) string {
	return ptr.Deref(attachment.Spec.Source.PersistentVolumeName, "")
}
