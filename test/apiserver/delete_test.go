package apiserver

import (
	"errors"
	"testing"

	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
)

// What was judged is deleted, and nothing else that bears its name by now.
func TestDeleteAttachment(t *testing.T) {
	attachments := admin().StorageV1().VolumeAttachments()
	tests := map[string]struct {
		meanwhile func(t *testing.T, seen *storagev1.VolumeAttachment)
		want      error
		stays     bool
	}{
		"as it was seen": {meanwhile: func(*testing.T, *storagev1.VolumeAttachment) {}},
		"gone": {meanwhile: func(t *testing.T, seen *storagev1.VolumeAttachment) {
			t.Helper()
			ignoreGone(t, attachments.Delete(t.Context(), seen.Name, metav1.DeleteOptions{}))
		}, want: attach.ErrChanged},
		"changed": {meanwhile: func(t *testing.T, seen *storagev1.VolumeAttachment) {
			t.Helper()
			changed := seen.DeepCopy()
			changed.Status.AttachmentMetadata = map[string]string{"epoch": "another"}
			must[*storagev1.VolumeAttachment](t)(attachments.UpdateStatus(t.Context(), changed, metav1.UpdateOptions{}))
		}, want: attach.ErrChanged, stays: true},
		"made again": {meanwhile: func(t *testing.T, seen *storagev1.VolumeAttachment) {
			t.Helper()
			ignoreGone(t, attachments.Delete(t.Context(), seen.Name, metav1.DeleteOptions{}))
			again := &storagev1.VolumeAttachment{ObjectMeta: metav1.ObjectMeta{Name: seen.Name}, Spec: seen.Spec}
			must[*storagev1.VolumeAttachment](t)(attachments.Create(t.Context(), again, metav1.CreateOptions{}))
		}, want: attach.ErrChanged, stays: true},
	}
	cluster := listen(t, account(t, nil))
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			seen := makeAttachment(t, "csi-delete", "pv-delete", "node-delete", "machine")
			judged := cluster.LiveAttachment(t.Context(), seen.Name)
			if judged.Err != nil || judged.Value.UID != string(seen.UID) || judged.Value.ResourceVersion != seen.ResourceVersion {
				t.Fatalf("live: got %+v, want UID %s in version %s", judged, seen.UID, seen.ResourceVersion)
			}
			test.meanwhile(t, seen)
			if err := cluster.DeleteAttachment(t.Context(), judged.Value); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
			_, err := attachments.Get(t.Context(), seen.Name, metav1.GetOptions{})
			if stays := err == nil; stays != test.stays || err != nil && !apierrors.IsNotFound(err) {
				t.Errorf("it is there: %t (%v), want %t", stays, err, test.stays)
			}
			ignoreGone(t, attachments.Delete(t.Context(), seen.Name, metav1.DeleteOptions{}))
		})
	}
}
