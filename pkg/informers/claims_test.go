package informers

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
)

func claimed(name, driver string, change func(*corev1.PersistentVolume)) *corev1.PersistentVolume {
	claimed := volume()
	claimed.Name, claimed.UID = name, "uid-of-"+claimed.UID
	claimed.Spec.CSI.Driver, claimed.Spec.CSI.VolumeHandle = driver, "raid10/rds-csi/"+name
	change(claimed)
	return claimed
}

func TestClaims(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := metav1.Now()
		asItIs := func(*corev1.PersistentVolume) {}
		phase := func(phase corev1.PersistentVolumePhase, policy corev1.PersistentVolumeReclaimPolicy) func(*corev1.PersistentVolume) {
			return func(v *corev1.PersistentVolume) {
				v.Status.Phase, v.Spec.PersistentVolumeReclaimPolicy = phase, policy
			}
		}
		c := startController(t, node("node-a", "machine-a"),
			claimed("bound", driver, phase(corev1.VolumeBound, corev1.PersistentVolumeReclaimDelete)),
			claimed("retained", driver, phase(corev1.VolumeReleased, corev1.PersistentVolumeReclaimRetain)),
			claimed("released", driver, phase(corev1.VolumeReleased, corev1.PersistentVolumeReclaimDelete)),
			claimed("failed", driver, phase(corev1.VolumeFailed, corev1.PersistentVolumeReclaimDelete)),
			claimed("deleting", driver, func(v *corev1.PersistentVolume) {
				v.DeletionTimestamp, v.Finalizers = &now, []string{"kubernetes.io/pv-protection"}
			}),
			claimed("foreign", "other.example", asItIs),
			claimed("local", driver, func(v *corev1.PersistentVolume) { v.Spec.CSI = nil }),
			attachment("ours", driver, "node-a"), attachment("theirs", "other.example", "node-a"))
		live, err := c.cluster.LiveClaims(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"bound", "deleting deleting", "failed deleting", "foreign of other.example", "released deleting", "retained"}, described(live)); diff != "" {
			t.Errorf("live PersistentVolumes (-want +got):\n%s", diff)
		}
		cached := c.cluster.CachedClaims()
		for i := range cached.Volumes {
			cached.Volumes[i].Deleting = false
		}
		if diff := cmp.Diff([]string{"bound", "deleting", "failed", "released", "retained"}, described(cached)); diff != "" {
			t.Errorf("cached PersistentVolumes (-want +got):\n%s", diff)
		}
		if theirs, found := c.cluster.CachedAttachment("theirs"); found {
			t.Errorf("got %+v, which is another driver's", theirs)
		}
		for name, attachments := range map[string][]attach.Attachment{"live": live.Attachments, "cached": cached.Attachments} {
			if len(attachments) != 1 || attachments[0].Name != "ours" || attachments[0].NodeName != "node-a" || attachments[0].PV != "pv-1" {
				t.Errorf("%s attachments: got %+v, want ours alone", name, attachments)
			}
		}
	})
}

func described(claims attach.Claims) []string {
	var texts []string
	for _, volume := range claims.Volumes {
		text := volume.Name
		if volume.Handle != "raid10/rds-csi/"+volume.Name || !strings.HasPrefix(volume.UID, "uid-of-") {
			text += " as another"
		}
		if volume.Driver != driver {
			text += " of " + volume.Driver
		}
		if volume.Deleting {
			text += " deleting"
		}
		texts = append(texts, text)
	}
	slices.Sort(texts)
	return texts
}

// A list in one piece would cost the API server a lot, and one that ends early would make orphans of all the rest.
func TestLiveClaimsTakesEveryPageOrFails(t *testing.T) {
	refused := errors.New("too old resource version")
	for name, fail := range map[string]bool{"every page": false, "the last page fails": true} {
		t.Run(name, func(t *testing.T) {
			client := fake.NewClientset()
			var asked []string
			client.PrependReactor("list", "*", func(action clienttesting.Action) (bool, runtime.Object, error) {
				options := action.(clienttesting.ListActionImpl).ListOptions
				if options.Limit == 0 || options.ResourceVersion != "" {
					t.Errorf("asked with %+v, want a page of the newest", options)
				}
				asked = append(asked, action.GetResource().Resource+options.Continue)
				meta := map[string]metav1.ListMeta{"": {Continue: "2"}, "2": {Continue: "3"}}[options.Continue]
				if fail && options.Continue == "3" {
					return true, nil, refused
				}
				if action.GetResource().Resource == "volumeattachments" {
					return true, &storagev1.VolumeAttachmentList{ListMeta: meta, Items: []storagev1.VolumeAttachment{*attachment("a"+options.Continue, driver, "node-a")}}, nil
				}
				return true, &corev1.PersistentVolumeList{ListMeta: meta, Items: []corev1.PersistentVolume{*claimed("v"+options.Continue, driver, func(*corev1.PersistentVolume) {})}}, nil
			})
			cluster, err := New(client, driver)
			if err != nil {
				t.Fatal(err)
			}
			live, err := cluster.LiveClaims(t.Context())
			if fail {
				if !errors.Is(err, refused) || len(live.Volumes) > 0 {
					t.Errorf("got %+v, %v, want the error and nothing else", live, err)
				}
				return
			}
			if err != nil || len(live.Volumes) != 3 || len(live.Attachments) != 3 {
				t.Errorf("got %+v, %v, want three of each", live, err)
			}
			if diff := cmp.Diff([]string{"persistentvolumes", "persistentvolumes2", "persistentvolumes3", "volumeattachments", "volumeattachments2", "volumeattachments3"}, asked); diff != "" {
				t.Errorf("asked for (-want +got):\n%s", diff)
			}
		})
	}
}

// What is asked for is what the API server has: the cache of attachments is empty here, and has one PersistentVolume
// only.
func TestLiveAttachmentsOfAVolume(t *testing.T) {
	const handle = "raid10/rds-csi/x"
	unseen := attachment(attach.AttachmentName(handle, driver, "node-b"), driver, "node-b")
	other, foreign := attachment("other", driver, "node-a"), attachment("foreign", "other.example", "node-a")
	unseen.Spec.Source.PersistentVolumeName, other.Spec.Source.PersistentVolumeName = new("pv-unseen"), new("pv-other")
	client := fake.NewClientset(attachment("by-hand", driver, "node-a"), unseen, other, foreign)
	cluster, err := New(client, driver)
	if err != nil {
		t.Fatal(err)
	}
	if err := cluster.volumes.GetIndexer().Add(volume()); err != nil {
		t.Fatal(err)
	}
	found, err := cluster.LiveAttachmentsOf(t.Context(), handle)
	var names []string
	for _, attachment := range found {
		names = append(names, attachment.Name)
		if attachment.Volume != handle {
			t.Errorf("attachment %s is of volume %q", attachment.Name, attachment.Volume)
		}
	}
	slices.Sort(names)
	if diff := cmp.Diff([]string{"by-hand", unseen.Name}, names); diff != "" || err != nil {
		t.Errorf("%v, attachments (-want +got):\n%s", err, diff)
	}
	client.PrependReactor("list", "volumeattachments", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, errors.New("refused")
	})
	if found, err := cluster.LiveAttachmentsOf(t.Context(), handle); err == nil {
		t.Errorf("got %+v, want the error", found)
	}
}
