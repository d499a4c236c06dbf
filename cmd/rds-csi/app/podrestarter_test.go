package app

import (
	"context"
	"flag"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/volumehealth"
)

func parsedRestarter(t *testing.T, line ...string) (*podRestarterOptions, error) {
	t.Helper()
	options := &podRestarterOptions{}
	flags := flag.NewFlagSet("test", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	options.AddFlags(flags)
	if err := flags.Parse(line); err != nil {
		return nil, err
	}
	return options, options.Validate()
}

// lostPod is a pod of a ReplicaSet whose volume of this driver is lost, with all that belongs to it.
func lostPod() (*corev1.Pod, *corev1.PersistentVolumeClaim, *corev1.PersistentVolume) {
	meta := metav1.ObjectMeta{Namespace: "ns", Name: "x", UID: "uid"}
	pod := &corev1.Pod{ObjectMeta: meta}
	pod.OwnerReferences = []metav1.OwnerReference{{Kind: "ReplicaSet", Name: "web", UID: "uid-of-web", Controller: new(true)}}
	pod.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "x"}}}}
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReadyToStartContainers, Status: corev1.ConditionTrue}}
	pod.Status.VolumeHealth = []corev1.PodVolumeHealth{{Name: "data", HealthConditions: []corev1.VolumeHealthCondition{{Status: corev1.VolumeHealthInaccessible, Reason: volumehealth.ConnectionLost}}}}
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: meta, Spec: corev1.PersistentVolumeClaimSpec{VolumeName: "x"}}
	volume := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "x"}}
	volume.Spec.CSI = &corev1.CSIPersistentVolumeSource{Driver: csi.DriverName, VolumeHandle: "raid10/rds-csi/x"}
	return pod, claim, volume
}

// The whole process, over a fake API server: it deletes by its flag alone.
func TestThePodRestarterDeletesByItsFlagAlone(t *testing.T) {
	for name, test := range map[string]struct {
		line    []string
		deleted bool
		events  int
	}{
		"by default":    {nil, false, 0},
		"with the flag": {[]string{"--restart-pods-on-lost-volumes"}, true, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				options, err := parsedRestarter(t, append(test.line, "--leader-election=false")...)
				if err != nil {
					t.Fatal(err)
				}
				pod, claim, volume := lostPod()
				client := fake.NewClientset(pod, claim, volume)
				parts, err := podRestarterParts(options, client)
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				group, ctx := errgroup.WithContext(ctx)
				for _, run := range parts {
					group.Go(func() error { return run(ctx) })
				}
				<-time.After(time.Second) // a wait for caches looks at them now and then
				synctest.Wait()
				_, err = client.CoreV1().Pods("ns").Get(t.Context(), "x", metav1.GetOptions{})
				if deleted := apierrors.IsNotFound(err); deleted != test.deleted || err != nil && !deleted {
					t.Errorf("deleted: %t (%v), want %t", deleted, err, test.deleted)
				}
				events, err := client.CoreV1().Events("ns").List(t.Context(), metav1.ListOptions{})
				if err != nil || len(events.Items) != test.events {
					t.Errorf("got %+v, %v, want %d events", events, err, test.events)
				}
				cancel()
				if err := group.Wait(); err != nil {
					t.Errorf("got %v, want a clean end", err)
				}
			})
		})
	}
}

func TestPodRestarterStartErrors(t *testing.T) {
	for _, test := range []struct{ line, says string }{
		{"--max-restart-share=0", "--max-restart-share"},
		{"--max-restart-share=1.1", "--max-restart-share"},
		{"--restart-reconcile-interval=0s", "--restart-reconcile-interval"},
		{"--restart-reconcile-workers=0", "--restart-reconcile-workers"},
		{"--http-address=localhost", "--http-address"},
		{"--kube-api-qps=0", "--kube-api-qps"},
		{"--kube-api-burst=0", "--kube-api-burst"},
		{"--leader-election-retry-period=9s", "--leader-election-renew-deadline"},
		{"--kubeconfig=/does/not/exist", "--kubeconfig"},
		{"--kubeconfig=", "--kubeconfig"},
	} {
		options, err := parsedRestarter(t, test.line)
		if err == nil {
			err = runPodRestarter(t.Context(), options)
		}
		if err == nil || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "--kubernetes") {
			t.Errorf("%s: got %v, want an error that says %q", test.line, err, test.says)
		}
	}
}
