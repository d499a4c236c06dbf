package informers

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
)

// The informer may trim an object that was trimmed before. What a first pass kept must be what the second one reads.
func TestTrimmingTwiceIsTrimmingOnce(t *testing.T) {
	full := node("node-a", "machine-a")
	full.CreationTimestamp, full.Status.NodeInfo.MachineID = metav1.NewTime(time.Unix(1000, 0)), "of-the-installation"
	full.Spec.Taints = []corev1.Taint{{Key: "a"}, {Key: corev1.TaintNodeOutOfService}}
	ephemeral := pod("user")
	ephemeral.Spec.Volumes = append(ephemeral.Spec.Volumes, corev1.Volume{Name: "scratch", VolumeSource: corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{}}})
	granted := attachment("va", driver, "node-a")
	granted.Status.AttachmentMetadata = map[string]string{"generation": "7"}
	for _, object := range []runtime.Object{full, ephemeral, granted, attachment("foreign", "other.example", "node-a"), volume()} {
		once, err := trim{driver: driver}.object(object)
		if err != nil {
			t.Fatal(err)
		}
		twice, err := trim{driver: driver}.object(once)
		if diff := cmp.Diff(once, twice); diff != "" || err != nil {
			t.Errorf("%T: %v (-once +twice):\n%s", object, err, diff)
		}
	}
}

// A node that is leaving gets no volumes, whichever way that shows.
func TestANodeIsLeavingByEitherSign(t *testing.T) {
	now := metav1.Now()
	for _, deleting := range []*metav1.Time{nil, &now} {
		for _, taint := range []string{"other", corev1.TaintNodeOutOfService} {
			full := node("node-a", "machine-a")
			full.DeletionTimestamp, full.Spec.Taints = deleting, []corev1.Taint{{Key: taint}, {Key: "last"}}
			want := deleting != nil || taint == corev1.TaintNodeOutOfService
			if got := (&Cluster{driver: driver}).nodeOf(trim{driver: driver}.node(full)).Leaving; got != want {
				t.Errorf("deleting %t, taint %s: leaving %t, want %t", deleting != nil, taint, got, want)
			}
		}
	}
}

// external-attacher may leave the metadata behind when a volume was detached. It isn't a grant any more.
func TestAnAttachmentThatIsNotAttachedGrantsNothing(t *testing.T) {
	grant := attach.Grant{Node: attach.NodeID{Name: "node-a", Machine: "machine-a"}, SubsystemNQN: "nqn", Generation: 7, Access: "mount", Mode: "single-node-writer"}
	for attached, want := range map[bool]attach.Grant{true: grant, false: {}} {
		metadata := map[string]string{}
		grant.Encode(metadata)
		full := attachment("va", driver, "node-a")
		full.Status = storagev1.VolumeAttachmentStatus{Attached: attached, AttachmentMetadata: metadata}
		if got := attachmentOf(trim{driver: driver}.attachment(full)); got.Grant != want || got.Attached != attached {
			t.Errorf("attached %t: got %+v, want the grant %+v", attached, got, want)
		}
	}
}
