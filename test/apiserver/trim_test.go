package apiserver

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
)

// fullStatus is about what a kubelet reports.
func fullStatus() corev1.NodeStatus {
	return corev1.NodeStatus{
		Capacity:    corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("8"), corev1.ResourceMemory: resource.MustParse("32Gi")},
		Allocatable: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("7")},
		Conditions:  []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady"}},
		Addresses:   []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "192.0.2.7"}, {Type: corev1.NodeHostName, Address: "node-trim"}},
		NodeInfo:    corev1.NodeSystemInfo{MachineID: "id-of-the-installation", SystemUUID: "4C4C4544-0042-4A10-8056-B4C04F335931", KubeletVersion: "v1.37.2", OSImage: "Debian"},
		Images:      []corev1.ContainerImage{{Names: []string{"registry.example/x@sha256:0"}, SizeBytes: 1 << 30}},
		VolumesInUse: []corev1.UniqueVolumeName{
			"kubernetes.io/csi/other.example^a", "kubernetes.io/csi/" + driver + "^raid10/rds-csi/one", "kubernetes.io/csi/" + driver + "^raid10/rds-csi/two",
		},
		VolumesAttached: []corev1.AttachedVolume{{Name: "kubernetes.io/csi/" + driver + "^raid10/rds-csi/one", DevicePath: ""}},
	}
}

// What the cache answers is what the API server itself does, whose objects nobody trimmed.
func TestACachedNodeSaysWhatTheRealOneSays(t *testing.T) {
	cluster := listen(t, account(t, nil))
	nodes := admin().CoreV1().Nodes()
	node := makeNode(t, "node-trim", "")
	agrees := func(what string, want attach.Node) {
		t.Helper()
		live := cluster.LiveNode(t.Context(), node.Name)
		if diff := cmp.Diff(want, live.Value); diff != "" || live.Err != nil {
			t.Fatalf("%s: live (%v, -want +got):\n%s", what, live.Err, diff)
		}
		eventually(t, what+": the cache agrees with the API server", func() bool {
			cached, found := cluster.CachedNode(node.Name)
			return found && cmp.Equal(want, cached)
		})
	}
	agrees("without a status", attach.Node{Name: node.Name, Since: node.CreationTimestamp.Time})

	node.Status = fullStatus()
	node = must[*corev1.Node](t)(nodes.UpdateStatus(t.Context(), node, metav1.UpdateOptions{}))
	want := attach.Node{Name: node.Name, Since: node.CreationTimestamp.Time, Machine: "4c4c4544-0042-4a10-8056-b4c04f335931", VolumesInUse: []string{"raid10/rds-csi/one", "raid10/rds-csi/two"}}
	agrees("with a full status", want)

	node.Spec.Taints = []corev1.Taint{{Key: "node.kubernetes.io/unreachable", Effect: corev1.TaintEffectNoExecute}}
	node = must[*corev1.Node](t)(nodes.Update(t.Context(), node, metav1.UpdateOptions{}))
	agrees("unreachable", want)

	want.Leaving = true
	node.Spec.Taints = append(node.Spec.Taints, corev1.Taint{Key: corev1.TaintNodeOutOfService, Value: "nodeshutdown", Effect: corev1.TaintEffectNoExecute})
	node = must[*corev1.Node](t)(nodes.Update(t.Context(), node, metav1.UpdateOptions{}))
	agrees("out of service", want)

	node.Spec.Taints, node.Finalizers = nil, []string{"example.com/hold"}
	node = must[*corev1.Node](t)(nodes.Update(t.Context(), node, metav1.UpdateOptions{}))
	want.Leaving = false
	agrees("with a finalizer", want)
	deleteNode(t, node.Name)
	want.Leaving = true
	agrees("being deleted", want)

	node = must[*corev1.Node](t)(nodes.Get(t.Context(), node.Name, metav1.GetOptions{}))
	node.Finalizers = nil
	must[*corev1.Node](t)(nodes.Update(t.Context(), node, metav1.UpdateOptions{}))
	if live := cluster.LiveNode(t.Context(), node.Name); live.Found || live.Err != nil {
		t.Errorf("deleted: live is %+v, want not found", live)
	}
	eventually(t, "the cache has lost the deleted node", func() bool {
		_, found := cluster.CachedNode(node.Name)
		return !found
	})
}

func TestACachedAttachmentSaysWhatTheRealOneSays(t *testing.T) {
	cluster := listen(t, account(t, nil))
	attachments := admin().StorageV1().VolumeAttachments()
	makeVolume(t, "pv-trim")
	object := makeAttachment(t, "csi-trim", "pv-trim", "node-trim", "machine-trim")
	agrees := func(what string, holds func(attach.Attachment) bool) {
		t.Helper()
		eventually(t, what+": the cache agrees with the API server", func() bool {
			live := cluster.LiveAttachment(t.Context(), object.Name)
			cached, found := cluster.CachedAttachment(object.Name)
			return live.Err == nil && live.Found && found && cmp.Equal(live.Value, cached) && holds(cached)
		})
	}
	agrees("attached", func(a attach.Attachment) bool {
		return a.Attached && a.PV == "pv-trim" && a.NodeID == "node-trim/machine-trim" && a.UID == string(object.UID) && !a.Detaching()
	})
	object.Finalizers = []string{"external-attacher/rds-csi-srvlab-io"}
	object = must[*storagev1.VolumeAttachment](t)(attachments.Update(t.Context(), object, metav1.UpdateOptions{}))
	ignoreGone(t, attachments.Delete(t.Context(), object.Name, metav1.DeleteOptions{}))
	agrees("being detached", attach.Attachment.Detaching)
	object = must[*storagev1.VolumeAttachment](t)(attachments.Get(t.Context(), object.Name, metav1.GetOptions{}))
	object.Finalizers = nil
	must[*storagev1.VolumeAttachment](t)(attachments.Update(t.Context(), object, metav1.UpdateOptions{}))
	eventually(t, "the cache has lost the detached one", func() bool {
		_, found := cluster.CachedAttachment(object.Name)
		return !found
	})
}
