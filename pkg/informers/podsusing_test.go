package informers

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clienttesting "k8s.io/client-go/testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
)

// A pod that terminates counts until it is gone: it may still write. A generic ephemeral volume's claim has the names of
// the pod and of the volume.
func TestWhichPodsUseAVolume(t *testing.T) {
	claim := &corev1.ObjectReference{Namespace: "default", Name: "user-data"}
	claimNamed := func(volume, claim string) corev1.Volume {
		return corev1.Volume{Name: volume, VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim}}}
	}
	ephemeralNamed := func(volume string) corev1.Volume {
		return corev1.Volume{Name: volume, VolumeSource: corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{}}}
	}
	volumes := map[string]struct {
		volume corev1.Volume
		uses   bool
	}{
		"the claim":                              {claimNamed("any", "user-data"), true},
		"another claim":                          {claimNamed("any", "other"), false},
		"another claim in a volume of that name": {claimNamed("data", "other"), false},
		"ephemeral":                              {ephemeralNamed("data"), true},
		"another ephemeral one":                  {ephemeralNamed("other"), false},
		"an ephemeral one named like the claim":  {ephemeralNamed("user-data"), false},
		"no claim at all":                        {corev1.Volume{Name: "data"}, false},
	}
	phases := map[corev1.PodPhase]bool{
		"": true, corev1.PodPending: true, corev1.PodRunning: true, corev1.PodUnknown: true, corev1.PodSucceeded: false, corev1.PodFailed: false,
	}
	now := metav1.Now()
	for kind, volume := range volumes {
		for phase, runs := range phases {
			for _, terminates := range []*metav1.Time{nil, &now} {
				for _, namespace := range []string{"default", "other"} {
					pod := pod("user")
					pod.Namespace, pod.DeletionTimestamp, pod.Status.Phase = namespace, terminates, phase
					pod.Spec.Volumes = []corev1.Volume{claimNamed("first", "first"), volume.volume}
					want := volume.uses && runs && namespace == claim.Namespace
					if got := uses(trimPod(pod), claim); got != want {
						t.Errorf("%s, phase %q, terminates %t, namespace %s: got %t, want %t", kind, phase, terminates != nil, namespace, got, want)
					}
				}
			}
		}
	}
}

// withoutErrorBackoff lets watches fail in a bubble. client-go's handler of such errors sleeps until the time of the last
// error, which is decades later than a bubble's clock.
func withoutErrorBackoff(t *testing.T) {
	t.Helper()
	handlers := utilruntime.ErrorHandlers
	utilruntime.ErrorHandlers = nil
	t.Cleanup(func() { utilruntime.ErrorHandlers = handlers })
}

// While it isn't known whether pods use a volume, its attachment must not be cleared.
func TestAnErrorAboutPodsIsNotTakenForNoPods(t *testing.T) {
	withoutErrorBackoff(t)
	forbidden := refusals()["forbidden"]
	for name, test := range map[string]struct {
		pv       string
		patience time.Duration
		spoil    func(*controller)
	}{
		"pods can't be listed":           {"pv-1", time.Minute, func(c *controller) { answerWith(c.client, "list", "pods", forbidden) }},
		"PersistentVolume can't be read": {"pv-unseen", time.Minute, func(c *controller) { answerWith(c.client, "get", "persistentvolumes", forbidden) }},
		"nothing is watched any more":    {"pv-1", time.Minute, func(c *controller) { c.cluster.pods.stopAll() }},
		"there is no time left":          {"pv-1", 0, func(*controller) {}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := startController(t, volume(), pod("user"))
				test.spoil(c)
				ctx, cancel := context.WithTimeout(t.Context(), test.patience)
				defer cancel()
				pods, err := c.cluster.PodsUsing(ctx, attach.Attachment{Name: "stale", NodeName: "node-a", PV: test.pv})
				// A cache that is filled in no time knows of the pod.
				if err == nil && !slices.Equal(pods, []string{"default/user"}) {
					t.Errorf("got %v, %v, want an error", pods, err)
				}
			})
		})
	}
}

// Pods refer to claims: without one, no pod can use the volume, and that is no error.
func TestAVolumeThatDoesNotExistIsUsedByNoPod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		unbound := volume()
		unbound.Name, unbound.Spec.ClaimRef = "pv-unbound", nil
		c := startController(t, unbound, pod("user"))
		for _, pv := range []string{"pv-unbound", "pv-gone"} {
			if pods, err := c.cluster.PodsUsing(t.Context(), attach.Attachment{Name: "stale", NodeName: "node-a", PV: pv}); err != nil || len(pods) > 0 {
				t.Errorf("%s: got %v, %v, want none", pv, pods, err)
			}
		}
	})
}

// A pod that ends without being deleted, as that of a job does, no longer uses the volume.
func TestAPodThatEndsWakesTheWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := startController(t, volume(), pod("user"), attachment("stale", driver, "node-a"))
		settle()
		ended := pod("user")
		ended.Status.Phase = corev1.PodSucceeded
		if _, err := c.client.CoreV1().Pods("default").Update(t.Context(), ended, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		settle()
		if got := c.attachments(t); len(got) != 0 {
			t.Errorf("not cleared once the pod had ended: %v", got)
		}
	})
}

// Pods of other nodes have no part in it, and there may be many of them.
func TestOnlyTheNodesPodsAreWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := startController(t, volume(), pod("user"), attachment("stale", driver, "node-a"))
		settle()
		var asked []string
		for _, action := range c.client.Actions() {
			switch action := action.(type) {
			case clienttesting.ListActionImpl:
				if action.Matches("list", "pods") {
					asked = append(asked, "list "+action.ListRestrictions.Fields.String())
				}
			case clienttesting.WatchActionImpl:
				if action.Matches("watch", "pods") {
					asked = append(asked, "watch "+action.WatchRestrictions.Fields.String())
				}
			}
		}
		slices.Sort(asked)
		if want := []string{"list spec.nodeName=node-a", "watch spec.nodeName=node-a"}; !slices.Equal(slices.Compact(asked), want) {
			t.Errorf("asked for %q, want %q", asked, want)
		}
	})
}

// An attachment that somebody else deletes waits for pods no more.
func TestADeletedAttachmentEndsItsPodWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := startController(t, volume(), pod("user"), attachment("stale", driver, "node-a"))
		settle()
		if n := len(c.cluster.pods.byNode); n != 1 {
			t.Fatalf("%d pod watches while an attachment waits, want 1", n)
		}
		if err := c.client.StorageV1().VolumeAttachments().Delete(t.Context(), "stale", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		settle()
		if n := len(c.cluster.pods.byNode); n != 0 {
			t.Errorf("%d pod watches are left, want none", n)
		}
	})
}
