package informers

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/restart"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/volumehealth"
)

// watchedPods are the Pods of a fake API server, running, with the workloads that they wanted looked at.
type watchedPods struct {
	*Pods
	client   *fake.Clientset
	mu       sync.Mutex
	enqueued []string
}

func startPods(t *testing.T, objects ...runtime.Object) *watchedPods {
	t.Helper()
	w := &watchedPods{client: fake.NewClientset(objects...)}
	pods, err := NewPods(w.client, driver)
	if err != nil {
		t.Fatal(err)
	}
	w.Pods = pods
	pods.OnWorkloads(func(workload string) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.enqueued = append(w.enqueued, workload)
	})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = pods.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	if err := pods.WaitForSync(t.Context()); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	return w
}

// since returns what was enqueued after the last call.
func (w *watchedPods) since() []string {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	enqueued := w.enqueued
	w.enqueued = nil
	return enqueued
}

func bound(name, volume string) *corev1.PersistentVolumeClaim {
	return &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: "uid-of-claim"}, Spec: corev1.PersistentVolumeClaimSpec{VolumeName: volume}}
}

// lostReplica is a running pod of a ReplicaSet whose volume, a claim of the driver, was replaced.
func lostReplica(name string) *corev1.Pod {
	lost := pod(name)
	lost.UID, lost.ResourceVersion = "uid-of-pod", "7"
	lost.OwnerReferences = []metav1.OwnerReference{
		{Kind: "Foreign", Name: "no-controller", UID: "another"},
		{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web", UID: "uid-of-web", Controller: new(true), BlockOwnerDeletion: new(true)},
	}
	lost.Status.Phase = corev1.PodRunning
	lost.Status.Conditions = []corev1.PodCondition{
		{Type: corev1.PodScheduled, Status: corev1.ConditionTrue},
		{Type: corev1.PodReadyToStartContainers, Status: corev1.ConditionTrue},
		{Type: corev1.PodReady, Status: corev1.ConditionTrue, Message: "well"},
	}
	lost.Status.VolumeHealth = []corev1.PodVolumeHealth{health(volumehealth.DeviceReplaced)}
	return lost
}

func health(reasons ...string) corev1.PodVolumeHealth {
	health := corev1.PodVolumeHealth{Name: "data", LastTransitionTime: metav1.Now()}
	for _, reason := range reasons {
		health.HealthConditions = append(health.HealthConditions, corev1.VolumeHealthCondition{Status: corev1.VolumeHealthInaccessible, Reason: reason, Message: "why"})
	}
	return health
}

// What the cache says of a pod is what the API server's own answer says, and that is what package restart decides on.
// The pod-restarter judges by three caches. Each of them must be full.
func TestPodsAreSyncedOnceEveryCacheIs(t *testing.T) {
	withoutErrorBackoff(t)
	for _, late := range []string{"pods", "persistentvolumeclaims", "persistentvolumes"} {
		t.Run(late, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := fake.NewClientset()
				var answers atomic.Bool
				client.PrependReactor("list", late, func(clienttesting.Action) (bool, runtime.Object, error) {
					return !answers.Load(), nil, errors.New("etcd is away")
				})
				pods, err := NewPods(client, driver)
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				var running sync.WaitGroup
				running.Go(func() { _ = pods.Run(ctx) })
				defer running.Wait()
				defer cancel()
				patient, giveUp := context.WithTimeout(t.Context(), time.Minute)
				defer giveUp()
				if err := pods.WaitForSync(patient); !errors.Is(err, errNotSynced) || pods.Synced() {
					t.Errorf("got %v, want errNotSynced", err)
				}
				answers.Store(true)
				if err := pods.WaitForSync(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestWhatIsKnownOfAPod(t *testing.T) {
	other := volume()
	other.Name, other.Spec.CSI.Driver = "pv-other", "other.example"
	local := volume()
	local.Name, local.Spec.CSI = "pv-local", nil
	base := restart.Pod{
		Namespace: "default", Name: "a", UID: "uid-of-pod", ResourceVersion: "7", Mounted: true, Ready: true,
		Controller: restart.Controller{Kind: "ReplicaSet", Name: "web", UID: "uid-of-web"},
		Reports:    []restart.Report{{Volume: "data", Claim: "claim", Reason: volumehealth.DeviceReplaced}},
	}
	claims := func(name string) corev1.VolumeSource {
		return corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: name}}
	}
	for name, test := range map[string]struct {
		change func(*corev1.Pod)
		want   func(*restart.Pod)
	}{
		"lost": {func(*corev1.Pod) {}, func(*restart.Pod) {}},
		"two reasons": {
			func(p *corev1.Pod) {
				p.Status.VolumeHealth[0] = health(volumehealth.ConnectionBroken, volumehealth.ConnectionLost)
			},
			func(p *restart.Pod) {
				p.Reports = []restart.Report{{Volume: "data", Claim: "claim", Reason: volumehealth.ConnectionBroken}, {Volume: "data", Claim: "claim", Reason: volumehealth.ConnectionLost}}
			},
		},
		"well again":                   {func(p *corev1.Pod) { p.Status.VolumeHealth[0] = health() }, func(p *restart.Pod) { p.Reports = nil }},
		"never reported":               {func(p *corev1.Pod) { p.Status.VolumeHealth = nil }, func(p *restart.Pod) { p.Reports = nil }},
		"a volume that the pod hasn't": {func(p *corev1.Pod) { p.Status.VolumeHealth[0].Name = "x" }, func(p *restart.Pod) { p.Reports = nil }},
		"another driver's volume":      {func(p *corev1.Pod) { p.Spec.Volumes[0].VolumeSource = claims("others") }, func(p *restart.Pod) { p.Reports = nil }},
		"a volume of no driver":        {func(p *corev1.Pod) { p.Spec.Volumes[0].VolumeSource = claims("locals") }, func(p *restart.Pod) { p.Reports = nil }},
		"a claim that nobody knows":    {func(p *corev1.Pod) { p.Spec.Volumes[0].VolumeSource = claims("x") }, func(p *restart.Pod) { p.Reports = nil }},
		"a claim without a volume":     {func(p *corev1.Pod) { p.Spec.Volumes[0].VolumeSource = claims("unbound") }, func(p *restart.Pod) { p.Reports = nil }},
		"a claim of another namespace": {func(p *corev1.Pod) { p.Namespace = "x" }, func(p *restart.Pod) { p.Namespace, p.Reports = "x", nil }},
		"another driver's volume before it": {func(p *corev1.Pod) {
			p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: "others", VolumeSource: claims("others")})
			others := p.Status.VolumeHealth[0]
			others.Name = "others"
			p.Status.VolumeHealth = []corev1.PodVolumeHealth{others, p.Status.VolumeHealth[0]}
		}, func(*restart.Pod) {}},
		"no claim at all": {func(p *corev1.Pod) { p.Spec.Volumes[0].VolumeSource = corev1.VolumeSource{} }, func(p *restart.Pod) { p.Reports = nil }},
		"an ephemeral volume": {func(p *corev1.Pod) {
			p.Spec.Volumes[0].VolumeSource = corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{}}
		}, func(p *restart.Pod) { p.Reports[0].Claim = "a-data" }},
		"not Ready":                       {func(p *corev1.Pod) { p.Status.Conditions[2].Status = corev1.ConditionFalse }, func(p *restart.Pod) { p.Ready = false }},
		"volumes not mounted":             {func(p *corev1.Pod) { p.Status.Conditions[1].Status = corev1.ConditionFalse }, func(p *restart.Pod) { p.Mounted = false }},
		"no conditions":                   {func(p *corev1.Pod) { p.Status.Conditions = nil }, func(p *restart.Pod) { p.Mounted, p.Ready = false, false }},
		"no controller among owners":      {func(p *corev1.Pod) { p.OwnerReferences = p.OwnerReferences[:1] }, func(p *restart.Pod) { p.Controller = restart.Controller{} }},
		"mirror of a static pod":          {func(p *corev1.Pod) { p.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "hash"} }, func(p *restart.Pod) { p.Mirror = true }},
		"failed":                          {func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }, func(p *restart.Pod) { p.Ended = true }},
		"succeeded":                       {func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }, func(p *restart.Pod) { p.Ended = true }},
		"still starting, init containers": {func(p *corev1.Pod) { p.Status.Phase = corev1.PodPending }, func(*restart.Pod) {}},
		"being deleted": {
			func(p *corev1.Pod) {
				p.DeletionTimestamp, p.Finalizers = new(metav1.Now()), []string{"example.com/hold"}
			},
			func(p *restart.Pod) { p.Terminating = true },
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				object, want := lostReplica("a"), base
				test.change(object)
				want.Reports = slices.Clone(base.Reports)
				test.want(&want)
				w := startPods(t, volume(), other, local, bound("claim", "pv-1"), bound("a-data", "pv-1"), bound("others", "pv-other"), bound("locals", "pv-local"), bound("unbound", ""), object)
				live, err := w.LivePod(t.Context(), object.Namespace, "a")
				if diff := cmp.Diff(want, live); diff != "" || err != nil {
					t.Errorf("live (%v, -want +got):\n%s", err, diff)
				}
				if diff := cmp.Diff([]restart.Pod{want}, w.CachedWorkload(want.Workload())); diff != "" {
					t.Errorf("cached (-want +got):\n%s", diff)
				}
				again, err := trim{driver: driver}.lost(lostPod(object))
				if diff := cmp.Diff(lostPod(object), again); diff != "" || err != nil {
					t.Errorf("trimmed twice (%v, -once +twice):\n%s", err, diff)
				}
			})
		})
	}
}

// An event about any pod of a workload has it looked at if one of its pods has a report; other workloads cost nothing.
func TestWhichEventsAreLookedAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		well := lostReplica("b")
		well.UID, well.Status.VolumeHealth = "uid-of-b", []corev1.PodVolumeHealth{health()}
		alone := pod("alone")
		alone.UID = "uid-of-alone"
		w := startPods(t, volume(), bound("claim", "pv-1"), lostReplica("a"), well, alone)
		const workload = "default/uid-of-web"
		if got := w.since(); len(got) == 0 || slices.ContainsFunc(got, func(key string) bool { return key != workload }) {
			t.Errorf("at first: enqueued %v, want %s alone", got, workload)
		}
		if got := w.CachedWorkloads(); !slices.Equal(got, []string{workload}) {
			t.Errorf("with a report: %v, want %s alone", got, workload)
		}
		pods := w.client.CoreV1().Pods("default")
		well.Status.Conditions[2].Status = corev1.ConditionFalse
		_, _ = pods.UpdateStatus(t.Context(), well, metav1.UpdateOptions{})
		if got := w.since(); !slices.Equal(got, []string{workload}) {
			t.Errorf("after an event about a sibling: enqueued %v, want %s", got, workload)
		}
		_ = pods.Delete(t.Context(), well.Name, metav1.DeleteOptions{})
		if got := w.since(); !slices.Equal(got, []string{workload}) {
			t.Errorf("after a sibling was deleted: enqueued %v, want %s", got, workload)
		}
		_, _ = pods.UpdateStatus(t.Context(), alone, metav1.UpdateOptions{})
		_ = pods.Delete(t.Context(), "a", metav1.DeleteOptions{})
		if got := w.since(); len(got) != 0 || len(w.CachedWorkloads()) != 0 {
			t.Errorf("nothing is reported any more: enqueued %v, with a report %v", got, w.CachedWorkloads())
		}
	})
}

// Pods that have ended aren't asked for.
func TestPodsThatHaveEndedArentCached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := startPods(t)
		for _, action := range w.client.Actions() {
			list, isList := action.(clienttesting.ListAction)
			if !isList || action.GetResource().Resource != "pods" {
				continue
			}
			if got := list.GetListRestrictions().Fields.String(); got != "status.phase!=Failed,status.phase!=Succeeded" {
				t.Errorf("listed pods with %q", got)
			}
			return
		}
		t.Error("no pods were listed")
	})
}

// What was judged is deleted, with the pod's own grace period, and nothing else that has its name by now.
func TestDeletePod(t *testing.T) {
	resource := schema.GroupResource{Resource: "pods"}
	refused := errors.New("refused")
	for name, test := range map[string]struct{ answer, want error }{
		"deleted": {nil, nil},
		"gone":    {apierrors.NewNotFound(resource, "a"), restart.ErrGone},
		"changed": {apierrors.NewConflict(resource, "a", refused), restart.ErrChanged},
		"failed":  {refused, refused},
	} {
		t.Run(name, func(t *testing.T) {
			client := fake.NewClientset()
			var options metav1.DeleteOptions
			client.PrependReactor("delete", "pods", func(action clienttesting.Action) (bool, runtime.Object, error) {
				options = action.(clienttesting.DeleteActionImpl).DeleteOptions
				return true, nil, test.answer
			})
			pods, err := NewPods(client, driver)
			if err != nil {
				t.Fatal(err)
			}
			err = pods.DeletePod(t.Context(), restart.Pod{Namespace: "default", Name: "a", UID: "uid-of-pod", ResourceVersion: "7"})
			if !errors.Is(err, test.want) || (test.want == nil) != (err == nil) {
				t.Errorf("got %v, want %v", err, test.want)
			}
			if p := options.Preconditions; p == nil || *p.UID != "uid-of-pod" || *p.ResourceVersion != "7" || options.GracePeriodSeconds != nil {
				t.Errorf("deleted with %+v", options)
			}
		})
	}
}

func TestAPodThatIsGoneIsTold(t *testing.T) {
	pods, err := NewPods(fake.NewClientset(), driver)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := pods.LivePod(t.Context(), "default", "a"); !errors.Is(err, restart.ErrGone) {
		t.Errorf("got %+v, %v, want %v", got, err, restart.ErrGone)
	}
}

// A pod has one event for each reason, although a second process that leads later tells it again.
func TestNotesAboutAPodAreWrittenOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset()
		note := restart.Note{Reason: restart.VolumeLost, Warning: true, Namespace: "ns", Name: "a", UID: "uid-of-a", Message: "why"}
		other := note
		other.UID, other.Warning, other.Reason = "uid-of-another", false, restart.RestartedForLostVolume
		for range 2 {
			recorder := NewPodRecorder(client, func() { t.Error("a note was dropped") })
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- recorder.Run(ctx) }()
			recorder.Record(note)
			recorder.Record(other)
			synctest.Wait()
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
		}
		list, err := client.CoreV1().Events("ns").List(t.Context(), metav1.ListOptions{})
		if err != nil || len(list.Items) != 2 {
			t.Fatalf("got %+v, %v, want two events", list, err)
		}
		for _, event := range list.Items {
			want := corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: "ns", Name: "a", UID: event.InvolvedObject.UID}
			warns := event.Type == corev1.EventTypeWarning
			if event.InvolvedObject != want || event.Source.Component != podReporter || event.Count != 1 || warns != (event.InvolvedObject.UID == "uid-of-a") {
				t.Errorf("got %+v", event)
			}
		}
	})
}
