package informers

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/status"
)

// overview reads from the API server what package status needs. driver is the CSI driver's name.
type overview struct {
	client kubernetes.Interface
	driver string
	seen   status.Seen
	// volumes are the driver's PersistentVolumes, by name.
	volumes map[string]*corev1.PersistentVolume
}

// Overview lists from the API server this driver's PersistentVolumes and attachments, and every Node. It needs no cache, and
// sends a handful of requests.
func Overview(ctx context.Context, client kubernetes.Interface, driver string) (status.Seen, error) {
	o := overview{client: client, driver: driver, volumes: map[string]*corev1.PersistentVolume{}}
	for _, read := range []struct {
		what string
		list func(context.Context) error
	}{
		{"persistentvolumes", o.readVolumes},
		{"nodes", o.readNodes},
		{"csinodes", o.readCSINodes},
		{"volumeattachments", o.readAttachments},
		{"pods", o.readPods},
	} {
		if err := read.list(ctx); err != nil {
			return status.Seen{}, fmt.Errorf("list %s: %w", read.what, err)
		}
	}
	return o.seen, nil
}

func (o *overview) readVolumes(ctx context.Context) error {
	return eachItem(ctx, o.client.CoreV1().PersistentVolumes().List, func(volume *corev1.PersistentVolume) {
		if volume.Spec.CSI == nil || volume.Spec.CSI.Driver != o.driver {
			return
		}
		o.volumes[volume.Name] = volume
		seen := status.Volume{
			Name: volume.Name, Handle: volume.Spec.CSI.VolumeHandle, Size: volume.Spec.Capacity.Storage().String(),
			Phase: string(volume.Status.Phase), Message: volume.Status.Message,
		}
		if claim := volume.Spec.ClaimRef; claim != nil {
			seen.Claim = claim.Namespace + "/" + claim.Name
		}
		o.seen.Volumes = append(o.seen.Volumes, seen)
	})
}

func (o *overview) readNodes(ctx context.Context) error {
	return eachItem(ctx, o.client.CoreV1().Nodes().List, func(node *corev1.Node) {
		seen := status.Node{Node: nodeOf(node, o.driver), Ready: string(corev1.ConditionUnknown)}
		for _, condition := range node.Status.Conditions {
			if condition.Type == corev1.NodeReady {
				seen.Ready = string(condition.Status)
			}
		}
		o.seen.Nodes = append(o.seen.Nodes, seen)
	})
}

// readCSINodes adds to the Nodes what their CSINodes say.
func (o *overview) readCSINodes(ctx context.Context) error {
	nodes := map[string]*status.Node{}
	for i := range o.seen.Nodes {
		nodes[o.seen.Nodes[i].Name] = &o.seen.Nodes[i]
	}
	return eachItem(ctx, o.client.StorageV1().CSINodes().List, func(object *storagev1.CSINode) {
		node, found := nodes[object.Name]
		for _, driver := range object.Spec.Drivers {
			if !found || driver.Name != o.driver {
				continue
			}
			node.ID = driver.NodeID
			if driver.Allocatable != nil && driver.Allocatable.Count != nil {
				node.Most = *driver.Allocatable.Count
			}
		}
	})
}

func (o *overview) readAttachments(ctx context.Context) error {
	return eachItem(ctx, o.client.StorageV1().VolumeAttachments().List, func(attachment *storagev1.VolumeAttachment) {
		if attachment.Spec.Attacher != o.driver {
			return
		}
		seen := status.Attachment{Attachment: attachmentOf(attachment)}
		if volume, found := o.volumes[seen.PV]; found {
			seen.Volume = volume.Spec.CSI.VolumeHandle
		}
		if failed := attachment.Status.AttachError; failed != nil {
			seen.AttachError = failed.Message
		}
		if failed := attachment.Status.DetachError; failed != nil {
			seen.DetachError = failed.Message
		}
		o.seen.Attachments = append(o.seen.Attachments, seen)
	})
}

// readPods adds to the attachments whose machine seems to be gone the pods that still use their volumes.
func (o *overview) readPods(ctx context.Context) error {
	nodes := map[string]attach.Node{}
	for _, node := range o.seen.Nodes {
		nodes[node.Name] = node.Node
	}
	for i := range o.seen.Attachments {
		attachment := &o.seen.Attachments[i]
		volume, known := o.volumes[attachment.PV]
		node, found := nodes[attachment.NodeName]
		if !known || volume.Spec.ClaimRef == nil || found && node.IsMachine(attachment.Machine()) {
			continue
		}
		list := func(ctx context.Context, options metav1.ListOptions) (*corev1.PodList, error) {
			options.FieldSelector = fields.OneTermEqualSelector("spec.nodeName", attachment.NodeName).String()
			return o.client.CoreV1().Pods(volume.Spec.ClaimRef.Namespace).List(ctx, options)
		}
		err := eachItem(ctx, list, func(pod *corev1.Pod) {
			if uses(pod, volume.Spec.ClaimRef) {
				attachment.Pods = append(attachment.Pods, pod.Namespace+"/"+pod.Name)
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}
