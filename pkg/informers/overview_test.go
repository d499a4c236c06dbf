package informers

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/utils/ptr"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/status"
)

func TestAnOverviewHasWhatIsOurs(t *testing.T) {
	ready := node("node-b", "machine-b")
	ready.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeMemoryPressure, Status: corev1.ConditionFalse}, {Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	registered := &storagev1.CSINode{ObjectMeta: metav1.ObjectMeta{Name: "node-b"}, Spec: storagev1.CSINodeSpec{Drivers: []storagev1.CSINodeDriver{
		{Name: "other.example", NodeID: "i-1"}, {Name: driver, NodeID: "node-b/machine-b", Allocatable: &storagev1.VolumeNodeResources{Count: ptr.To[int32](128)}},
	}}}
	ours, theirs := volume(), volume()
	ours.Spec.Capacity = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}
	ours.Status = corev1.PersistentVolumeStatus{Phase: corev1.VolumeFailed, Message: "busy"}
	theirs.Name, theirs.Spec.CSI.Driver = "pv-2", "other.example"
	failed := attachment("ours", driver, "node-a")
	failed.Status = storagev1.VolumeAttachmentStatus{AttachError: &storagev1.VolumeError{Message: "held"}, DetachError: &storagev1.VolumeError{Message: "away"}}
	ended, elsewhere := pod("ended"), pod("elsewhere")
	ended.Status.Phase, elsewhere.Spec.Volumes = corev1.PodSucceeded, nil
	client := fake.NewClientset(ready, registered, &storagev1.CSINode{ObjectMeta: metav1.ObjectMeta{Name: "gone"}}, ours, theirs, failed,
		attachment("theirs", "other.example", "node-a"), pod("uses"), ended, elsewhere)
	got, err := Overview(t.Context(), client, driver)
	want := status.Seen{
		Volumes: []status.Volume{{Name: "pv-1", Handle: "raid10/rds-csi/x", Claim: "default/claim", Size: "1Gi", Phase: "Failed", Message: "busy"}},
		Attachments: []status.Attachment{{
			Attachment:  attach.Attachment{Name: "ours", UID: "a-1", ResourceVersion: "7", NodeName: "node-a", NodeID: "node-a/machine-a", PV: "pv-1", Volume: "raid10/rds-csi/x"},
			AttachError: "held", DetachError: "away", Pods: []string{"default/uses"},
		}},
		Nodes: []status.Node{{Node: attach.Node{Name: "node-b", Machine: "machine-b"}, Ready: "True", ID: "node-b/machine-b", Most: 128}},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

// Half an overview would hide what is stuck.
func TestAnOverviewThatIsNotCompleteIsNone(t *testing.T) {
	for _, missing := range []string{"persistentvolumes", "nodes", "csinodes", "volumeattachments", "pods"} {
		client := fake.NewClientset(volume(), attachment("ours", driver, "node-a"))
		client.PrependReactor("list", missing, func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, errors.New("forbidden") })
		got, err := Overview(context.WithoutCancel(t.Context()), client, driver)
		if err == nil || !strings.Contains(err.Error(), missing) || !cmp.Equal(got, status.Seen{}) {
			t.Errorf("%s: got %+v, %v, want an error that names what may not be listed", missing, got, err)
		}
	}
}
