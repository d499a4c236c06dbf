package informers

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
)

// LiveNode gets a node from the API server itself.
func (c *Cluster) LiveNode(ctx context.Context, name string) attach.Answer[attach.Node] {
	node, err := c.client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	return answer("node "+name, node, err, c.nodeOf)
}

// LiveAttachment gets an attachment from the API server itself.
func (c *Cluster) LiveAttachment(ctx context.Context, name string) attach.Answer[attach.Attachment] {
	attachment, err := c.client.StorageV1().VolumeAttachments().Get(ctx, name, metav1.GetOptions{})
	return answer("attachment "+name, attachment, err, c.attachmentOf)
}

// answer converts the result of a get request. what names the object in the error.
func answer[Object, Value any](what string, object Object, err error, convert func(Object) Value) attach.Answer[Value] {
	switch {
	case apierrors.IsNotFound(err):
		return attach.Answer[Value]{}
	case err != nil:
		return attach.Answer[Value]{Err: fmt.Errorf("get %s: %w", what, err)}
	default:
		return attach.Answer[Value]{Value: convert(object), Found: true}
	}
}

// DeleteAttachment deletes exactly the version of the attachment that was read. It returns attach.ErrChanged, and
// deletes nothing, if the attachment has changed, was created anew, or is gone. A deletion by somebody else must not be
// reported as this driver's.
func (c *Cluster) DeleteAttachment(ctx context.Context, attachment attach.Attachment) error {
	uid := types.UID(attachment.UID)
	err := c.client.StorageV1().VolumeAttachments().Delete(ctx, attachment.Name, metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &uid, ResourceVersion: &attachment.ResourceVersion},
	})
	switch {
	case apierrors.IsConflict(err), apierrors.IsNotFound(err):
		return fmt.Errorf("delete attachment %s: %w: %w", attachment.Name, attach.ErrChanged, err)
	case err != nil:
		return fmt.Errorf("delete attachment %s: %w", attachment.Name, err)
	default:
		return nil
	}
}

// volume returns a PersistentVolume from the cache, else from the API server. It returns nil if there is none.
func (c *Cluster) volume(ctx context.Context, name string) (*corev1.PersistentVolume, error) {
	if volume, err := c.factory.Core().V1().PersistentVolumes().Lister().Get(name); err == nil {
		return volume, nil
	}
	volume, err := c.client.CoreV1().PersistentVolumes().Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // no volume is an answer here, and no error
	}
	if err != nil {
		return nil, fmt.Errorf("get PersistentVolume %s: %w", name, err)
	}
	return volume, nil
}
