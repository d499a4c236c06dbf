package apiserver

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/test/docs"
)

// What docs/migrating.md has people do with kubectl gives the PersistentVolume of v0.x its new handle, and leaves those of
// other drivers alone.
func TestAPersistentVolumeOfVersion0GetsItsNewHandle(t *testing.T) {
	const name = "pvc-ccdecfad-a8bf-572e-9120-464c4d99f12f"
	restoreDriver(t)
	makeOldVolume(t, name, driver)
	makeOldVolume(t, "other-driver", "other.example")
	makeAttachment(t, "csi-old", name, "node-old", "machine")
	pin(t, "csi-old")

	before := must[*corev1.PersistentVolume](t)(admin().CoreV1().PersistentVolumes().Get(t.Context(), name, metav1.GetOptions{}))
	script := strings.Join(docs.Blocks(t, "../..", "migrating.md", "sh"), "\n")
	follow(t, t.TempDir(), script)

	system := must[*corev1.Namespace](t)(admin().CoreV1().Namespaces().Get(t.Context(), metav1.NamespaceSystem, metav1.GetOptions{}))
	id := must[rds.VolumeID](t)(rds.NewVolumeID("storage-pool", "rds-csi", string(system.UID), name))
	after := must[*corev1.PersistentVolume](t)(admin().CoreV1().PersistentVolumes().Get(t.Context(), name, metav1.GetOptions{}))
	want := before.Spec.DeepCopy()
	want.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimRetain
	want.CSI.VolumeHandle, want.CSI.VolumeAttributes = id.String(), nil
	if diff := cmp.Diff(want, &after.Spec); diff != "" || after.UID == before.UID || len(after.Annotations) != len(before.Annotations) {
		t.Errorf("%s (-want +got):\n%s", after.ObjectMeta.String(), diff)
	}
	other := must[*corev1.PersistentVolume](t)(admin().CoreV1().PersistentVolumes().Get(t.Context(), "other-driver", metav1.GetOptions{}))
	if other.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimDelete {
		t.Errorf("a volume of another driver was changed: %+v", other.Spec)
	}
	if left, err := admin().StorageV1().VolumeAttachments().List(t.Context(), metav1.ListOptions{}); err != nil || len(left.Items) != 0 {
		t.Errorf("left: %v, %v, want no attachment", left.Items, err)
	}
}

// follow runs what a page says, in a folder, as an administrator of the cluster. It returns what was printed.
func follow(t *testing.T, folder, script string) string {
	t.Helper()
	shell := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script)
	shell.Dir = folder
	shell.Env = append(os.Environ(), "KUBECONFIG="+api.Kubeconfig(), "PATH="+os.Getenv("RDS_CSI_HARNESS")+":"+os.Getenv("PATH"))
	out, err := shell.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

// makeOldVolume makes a PersistentVolume as v0.x made it, bound to a claim. It is gone when the test ends.
func makeOldVolume(t *testing.T, name, driver string) {
	t.Helper()
	volume := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Annotations: map[string]string{"pv.kubernetes.io/provisioned-by": driver},
			Finalizers: []string{"kubernetes.io/pv-protection", "external-provisioner.volume.kubernetes.io/finalizer", "external-attacher/rds-csi-srvlab-io"},
		},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")},
			AccessModes:                   []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimDelete,
			StorageClassName:              "old",
			ClaimRef:                      &corev1.ObjectReference{APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: "default", Name: name, UID: "uid-of-the-claim"},
			PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{
				Driver: driver, VolumeHandle: name, FSType: "ext4",
				VolumeAttributes: map[string]string{"volumePath": "/storage-pool/metal-csi/" + name + ".img", "nqn": "nqn.2000-02.com.mikrotik:" + name},
			}},
		},
	}
	must[*corev1.PersistentVolume](t)(admin().CoreV1().PersistentVolumes().Create(t.Context(), volume, metav1.CreateOptions{}))
	t.Cleanup(func() {
		ctx := context.Background()
		ignoreGone(t, admin().CoreV1().PersistentVolumes().Delete(ctx, name, metav1.DeleteOptions{}))
		left, err := admin().CoreV1().PersistentVolumes().Get(ctx, name, metav1.GetOptions{})
		ignoreGone(t, err)
		if err == nil {
			left.Finalizers = nil
			_, err = admin().CoreV1().PersistentVolumes().Update(ctx, left, metav1.UpdateOptions{})
			ignoreGone(t, err)
		}
	})
}

// pin gives an attachment the finalizer of an external-attacher that isn't there any more.
func pin(t *testing.T, attachment string) {
	t.Helper()
	object := must[*storagev1.VolumeAttachment](t)(admin().StorageV1().VolumeAttachments().Get(t.Context(), attachment, metav1.GetOptions{}))
	object.Finalizers = []string{"external-attacher/rds-csi-srvlab-io"}
	must[*storagev1.VolumeAttachment](t)(admin().StorageV1().VolumeAttachments().Update(t.Context(), object, metav1.UpdateOptions{}))
}

// restoreDriver makes the CSIDriver again when the test ends.
func restoreDriver(t *testing.T) {
	t.Helper()
	object := must[*storagev1.CSIDriver](t)(admin().StorageV1().CSIDrivers().Get(t.Context(), driver, metav1.GetOptions{}))
	t.Cleanup(func() {
		object.ResourceVersion, object.UID = "", ""
		if _, err := admin().StorageV1().CSIDrivers().Create(context.Background(), object, metav1.CreateOptions{}); err != nil {
			t.Error(err)
		}
	})
}
