package informers

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
)

// PodsUsing returns the pods on the attachment's node that use its volume and haven't ended, as namespace/name. While
// there are any, the attachment is enqueued again whenever one of that node's pods changes.
func (c *Cluster) PodsUsing(ctx context.Context, attachment attach.Attachment) ([]string, error) {
	volume, err := c.volume(ctx, attachment.PV)
	if err != nil {
		return nil, err
	}
	if volume == nil || volume.Spec.ClaimRef == nil {
		// A pod refers to a claim. If no claim is bound to the volume, no pod can use it.
		return nil, nil
	}
	pods, err := c.pods.on(ctx, attachment)
	if _, found := c.CachedAttachment(attachment.Name); !found {
		// The event of its deletion may have come before the watch began to wait for it, and there will be no other.
		c.pods.stopWaiting(attachment.NodeName, attachment.Name)
	}
	if err != nil {
		return nil, err
	}
	var using []string
	for _, pod := range pods {
		if uses(pod, volume.Spec.ClaimRef) {
			using = append(using, pod.Namespace+"/"+pod.Name)
		}
	}
	if len(using) == 0 {
		c.pods.stopWaiting(attachment.NodeName, attachment.Name)
	}
	return using, nil
}

// uses reports whether a pod uses the claim and hasn't ended. A pod that is being deleted counts for as long as it
// exists, as it does for the attach-detach controller.
func uses(pod *corev1.Pod, claim *corev1.ObjectReference) bool {
	if pod.Namespace != claim.Namespace || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		return false
	}
	return slices.ContainsFunc(pod.Spec.Volumes, func(volume corev1.Volume) bool { return claimOf(pod, volume) == claim.Name })
}

// claimOf returns the name of the claim that one of a pod's volumes is, or "" if it isn't a claim. The claim of a
// generic ephemeral volume has the names of both.
func claimOf(pod *corev1.Pod, volume corev1.Volume) string {
	switch {
	case volume.PersistentVolumeClaim != nil:
		return volume.PersistentVolumeClaim.ClaimName
	case volume.Ephemeral != nil:
		return pod.Name + "-" + volume.Name
	default:
		return ""
	}
}
