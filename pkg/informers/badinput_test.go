package informers

import (
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// What can't be judged is left alone, although its node is gone; and it never keeps the rest from being cleared.
func TestWhatCannotBeJudgedIsLeftAlone(t *testing.T) {
	foreignHandle := volume()
	foreignHandle.Name, foreignHandle.Spec.CSI.Driver = "pv-2", "other.example"
	noCSI := volume()
	noCSI.Name, noCSI.Spec.CSI = "pv-3", nil
	emptyHandle := volume()
	emptyHandle.Name, emptyHandle.Spec.CSI.VolumeHandle = "pv-4", ""
	on := func(pv string) func(*storagev1.VolumeAttachment) {
		return func(a *storagev1.VolumeAttachment) { a.Spec.Source.PersistentVolumeName = &pv }
	}
	cases := map[string]func(*storagev1.VolumeAttachment){
		"no-source": func(a *storagev1.VolumeAttachment) { a.Spec.Source = storagev1.VolumeAttachmentSource{} },
		"inline": func(a *storagev1.VolumeAttachment) {
			a.Spec.Source = storagev1.VolumeAttachmentSource{InlineVolumeSpec: &foreignHandle.Spec}
		},
		"unknown-pv":                on("nowhere"),
		"foreign-handle":            on("pv-2"),
		"no-csi":                    on("pv-3"),
		"empty-handle":              on("pv-4"),
		"empty-pv":                  on(""),
		"node-id-of-another-driver": func(a *storagev1.VolumeAttachment) { a.Annotations[nodeIDAnnotation] = "i-0abc" },
		"node-id-half":              func(a *storagev1.VolumeAttachment) { a.Annotations[nodeIDAnnotation] = "/" },
	}
	synctest.Test(t, func(t *testing.T) {
		objects := []runtime.Object{volume(), foreignHandle, noCSI, emptyHandle, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "without-info"}}, attachment("stale", driver, "node-a")}
		for name, spoil := range cases {
			spoilt := attachment(name, driver, "node-a")
			spoil(spoilt)
			objects = append(objects, spoilt)
		}
		c := startController(t, objects...)
		settle()
		left := map[string]bool{}
		for _, name := range c.attachments(t) {
			left[name] = true
		}
		for name := range cases {
			if !left[name] {
				t.Errorf("%s was cleared", name)
			}
		}
		if left["stale"] {
			t.Error("the one that can be judged was not cleared")
		}
	})
}

// A half-filled object is no reason to fall over, or to take its silence for proof.
func TestHalfFilledObjects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bare := attachment("bare", driver, "without-info")
		bare.Annotations, bare.Status = nil, storagev1.VolumeAttachmentStatus{}
		garbled := attachment("garbled", driver, "without-info")
		garbled.Status.AttachmentMetadata = map[string]string{"generation": "-3", "subsystemNQN": "nqn", "access": "?"}
		future := attachment("future", driver, "without-info")
		inAnHour := metav1.NewTime(time.Now().Add(time.Hour))
		future.DeletionTimestamp, future.Finalizers = &inAnHour, []string{"external-attacher/x"}
		c := startController(t, volume(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "without-info"}}, bare, garbled, future)
		<-time.After(3 * time.Hour)
		synctest.Wait()
		if got := c.attachments(t); len(got) != 3 {
			t.Errorf("left: %v, want all three: a Node without an identity proves nothing", got)
		}
		if attachment, found := c.cluster.CachedAttachment("garbled"); !found || attachment.Grant.Generation != 0 {
			t.Errorf("got %+v, %t, want no grant", attachment, found)
		}
	})
}
