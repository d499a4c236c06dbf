package informers

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/pager"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
)

// CachedClaims returns this driver's PersistentVolumes and attachments from the caches.
func (c *Cluster) CachedClaims() attach.Claims {
	var claims attach.Claims
	// Listing everything in a cache can't fail.
	volumes, _ := c.factory.Core().V1().PersistentVolumes().Lister().List(labels.Everything())
	for _, volume := range volumes {
		addVolume(&claims, volume)
	}
	for _, name := range c.CachedAttachments() {
		if attachment, found := c.CachedAttachment(name); found {
			claims.Attachments = append(claims.Attachments, attachment)
		}
	}
	return claims
}

// LiveClaims lists from the API server every PersistentVolume with a CSI source, of any driver, and this driver's
// attachments. Each list is of the moment of its first page, and complete.
func (c *Cluster) LiveClaims(ctx context.Context) (attach.Claims, error) {
	var claims attach.Claims
	err := eachItem(ctx, c.client.CoreV1().PersistentVolumes().List, func(volume *corev1.PersistentVolume) {
		addVolume(&claims, volume)
	})
	if err != nil {
		return attach.Claims{}, fmt.Errorf("list PersistentVolumes: %w", err)
	}
	if claims.Attachments, err = c.liveAttachments(ctx); err != nil {
		return attach.Claims{}, err
	}
	return claims, nil
}

// LiveAttachmentsOf lists the attachments of a volume from the API server itself. If the PersistentVolume of one isn't
// in the cache yet, it is recognized by its name, which Kubernetes computes from volume and node.
func (c *Cluster) LiveAttachmentsOf(ctx context.Context, handle string) ([]attach.Attachment, error) {
	attachments, err := c.liveAttachments(ctx)
	var found []attach.Attachment
	for _, attachment := range attachments {
		if attachment.Volume == handle || attachment.Name == attach.AttachmentName(handle, c.driver, attachment.NodeName) {
			attachment.Volume = handle
			found = append(found, attachment)
		}
	}
	return found, err
}

// liveAttachments lists this driver's attachments from the API server itself. With an error it returns none.
func (c *Cluster) liveAttachments(ctx context.Context) ([]attach.Attachment, error) {
	var attachments []attach.Attachment
	err := eachItem(ctx, c.client.StorageV1().VolumeAttachments().List, func(attachment *storagev1.VolumeAttachment) {
		if c.ours(attachment) {
			attachments = append(attachments, c.attachmentOf(attachment))
		}
	})
	if err != nil {
		return nil, fmt.Errorf("list VolumeAttachments: %w", err)
	}
	return attachments, nil
}

// eachItem calls take with every item of a list, page by page. Without a resourceVersion, the first page is no older
// than the request, and the other pages are of the same moment. If that moment is too long ago for a later page, it
// returns an error.
func eachItem[List, Item runtime.Object](ctx context.Context, list func(context.Context, metav1.ListOptions) (List, error), take func(Item)) error {
	pages := func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		return list(ctx, options)
	}
	return pager.New(pages).EachListItem(ctx, metav1.ListOptions{}, func(object runtime.Object) error {
		item, ok := object.(Item)
		if !ok {
			return fmt.Errorf("the API server listed a %T", object)
		}
		take(item)
		return nil
	})
}

// addVolume adds a PersistentVolume to claims if it has a CSI source.
func addVolume(claims *attach.Claims, volume *corev1.PersistentVolume) {
	if volume.Spec.CSI == nil {
		return
	}
	claims.Volumes = append(claims.Volumes, attach.PersistentVolume{
		Name: volume.Name, UID: string(volume.UID), Driver: volume.Spec.CSI.Driver, Handle: volume.Spec.CSI.VolumeHandle, Deleting: isDeleting(volume),
	})
}

// isDeleting reports whether the volume's disk may be deleted before the PersistentVolume: it is being deleted, or it
// was released and its reclaim policy is Delete. external-provisioner then deletes the disk first.
func isDeleting(volume *corev1.PersistentVolume) bool {
	released := volume.Status.Phase == corev1.VolumeReleased || volume.Status.Phase == corev1.VolumeFailed
	return volume.DeletionTimestamp != nil || released && volume.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimDelete
}
