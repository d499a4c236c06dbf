package informers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
)

// recording is a recorder over a fake API server. Its caches aren't run: the test fills them.
type recording struct {
	*Recorder
	client  *fake.Clientset
	dropped atomic.Int64
	// fail, unless nil, is the error of every write of an event.
	fail  atomic.Pointer[error]
	tries atomic.Int64
}

func newRecording(t *testing.T) *recording {
	t.Helper()
	r := &recording{client: fake.NewClientset()}
	r.client.PrependReactor("*", "events", func(action clienttesting.Action) (bool, kruntime.Object, error) {
		if action.GetVerb() == "list" {
			return false, nil, nil
		}
		r.tries.Add(1)
		if err := r.fail.Load(); err != nil {
			return true, nil, *err
		}
		return false, nil, nil
	})
	cluster, err := New(r.client, driver)
	if err != nil {
		t.Fatal(err)
	}
	bound := volume()
	bound.UID, bound.Spec.ClaimRef.UID = "uid-of-pv", "uid-of-claim"
	free, same := volume(), volume()
	free.Name, free.Spec.ClaimRef = "pv-free", nil
	same.Name, same.Spec.ClaimRef.Name = "same", "same"
	free.Spec.CSI.VolumeHandle, same.Spec.CSI.VolumeHandle = "raid10/rds-csi/free", "raid10/rds-csi/same"
	for _, volume := range []*corev1.PersistentVolume{bound, free, same} {
		if err := cluster.volumes.GetIndexer().Add(trim{driver: driver}.volume(volume)); err != nil {
			t.Fatal(err)
		}
	}
	r.Recorder = NewRecorder(cluster, func() { r.dropped.Add(1) })
	return r
}

// run has notes written in the bubble until the test ends.
func (r *recording) run(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func (r *recording) events(t *testing.T) []corev1.Event {
	t.Helper()
	synctest.Wait()
	list, err := r.client.CoreV1().Events(metav1.NamespaceAll).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(list.Items, func(a, b corev1.Event) int {
		return cmp.Or(cmp.Compare(a.InvolvedObject.Kind, b.InvolvedObject.Kind), cmp.Compare(a.InvolvedObject.Name, b.InvolvedObject.Name))
	})
	return list.Items
}

// An event is where people look: "kubectl describe" finds it by namespace, kind, name and UID.
func TestWhereANoteIsShown(t *testing.T) {
	claim := corev1.ObjectReference{APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: "default", Name: "claim", UID: "uid-of-claim"}
	pv := corev1.ObjectReference{APIVersion: "v1", Kind: "PersistentVolume", Name: "pv-1", UID: "uid-of-pv"}
	node := corev1.ObjectReference{APIVersion: "v1", Kind: "Node", Name: "node-a", UID: "node-a"}
	tests := map[string]struct {
		pv, node string
		want     []corev1.ObjectReference
	}{
		"volume and node": {"pv-1", "node-a", []corev1.ObjectReference{node, pv, claim}},
		"volume":          {"pv-1", "", []corev1.ObjectReference{pv, claim}},
		"all of one name": {"same", "same", []corev1.ObjectReference{
			{APIVersion: "v1", Kind: "Node", Name: "same", UID: "same"},
			{APIVersion: "v1", Kind: "PersistentVolume", Name: "same"},
			{APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: "default", Name: "same"},
		}},
		"volume that isn't bound": {"pv-free", "", []corev1.ObjectReference{{APIVersion: "v1", Kind: "PersistentVolume", Name: "pv-free"}}},
		"volume that isn't known": {"pv-x", "", []corev1.ObjectReference{{APIVersion: "v1", Kind: "PersistentVolume", Name: "pv-x"}}},
		"node, deleted or not":    {"", "node-a", []corev1.ObjectReference{node}},
		"neither":                 {"", "", []corev1.ObjectReference{{APIVersion: "storage.k8s.io/v1", Kind: "CSIDriver", Name: driver}}},
	}
	for name, test := range tests {
		for _, warning := range []bool{false, true} {
			t.Run(fmt.Sprint(name, warning), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newRecording(t)
					r.run(t)
					r.Record(attach.Note{Reason: attach.ClearingHeld, Warning: warning, PV: test.pv, Node: test.node, Message: "why"})
					wantType := map[bool]string{false: corev1.EventTypeNormal, true: corev1.EventTypeWarning}[warning]
					var got []corev1.ObjectReference
					for _, event := range r.events(t) {
						got = append(got, event.InvolvedObject)
						wantNamespace := cmp.Or(event.InvolvedObject.Namespace, "default")
						if event.Reason != "ClearingHeld" || event.Message != "why" || event.Type != wantType || event.Namespace != wantNamespace || event.Source.Component != reporter {
							t.Errorf("got %+v", event)
						}
					}
					if diff := gocmp.Diff(test.want, got); diff != "" {
						t.Errorf("events on (-want +got):\n%s", diff)
					}
				})
			})
		}
	}
}

// The controller service knows a volume by its handle alone: what it says of one is shown on claim and volume all the
// same.
func TestNotesByHandleAreShownOnTheClaimAndTheVolume(t *testing.T) {
	for _, reason := range []attach.Reason{attach.PublishRefused, attach.JoinRefused, attach.ApplianceWentBack, attach.VolumeTakenOver, attach.MachineIdentityChanged} {
		for name, test := range map[string]struct {
			note attach.Note
			want []string
		}{
			"known":                {attach.Note{Volume: "raid10/rds-csi/x", Node: "node-a"}, []string{"Node node-a", "PersistentVolume pv-1", "PersistentVolumeClaim claim"}},
			"known, about no node": {attach.Note{Volume: "raid10/rds-csi/x"}, []string{"PersistentVolume pv-1", "PersistentVolumeClaim claim"}},
			"not known":            {attach.Note{Volume: "raid10/rds-csi/y"}, []string{"CSIDriver " + driver}},
		} {
			t.Run(fmt.Sprint(reason, " ", name), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newRecording(t)
					r.run(t)
					test.note.Reason, test.note.Message = reason, "why"
					r.Record(test.note)
					var got []string
					for _, event := range r.events(t) {
						got = append(got, event.InvolvedObject.Kind+" "+event.InvolvedObject.Name)
					}
					if !slices.Equal(got, test.want) {
						t.Errorf("got %q, want %q", got, test.want)
					}
				})
			})
		}
	}
}

// The first of a kind is written at once; what repeats becomes a count, and even that is written a limited number of
// times.
func TestNotesThatRepeatAreOneEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecording(t)
		r.run(t)
		note := attach.Note{Reason: attach.DetachStuck, Node: "node-a", Message: "again"}
		for range 5 {
			r.Record(note)
			advance(time.Second)
		}
		events := r.events(t)
		if len(events) != 1 || events[0].Count != 5 || !events[0].LastTimestamp.After(events[0].FirstTimestamp.Time) {
			t.Fatalf("got %+v, want one event that counts 5", events)
		}
		for range 500 {
			r.Record(note)
			advance(time.Millisecond)
		}
		if n := r.tries.Load(); len(r.events(t)) != 1 || n > 30 {
			t.Errorf("%d events written %d times for 505 notes, want 1 and at most 30", len(events), n)
		}
	})
}

func advance(by time.Duration) {
	<-time.After(by)
	synctest.Wait()
}

// However many notes come, callers don't wait, no goroutine is started for them, and little is written.
func TestAStormOfNotes(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	const notes = 10_000
	r := newRecording(t)
	block := make(chan struct{})
	r.client.PrependReactor("create", "events", func(clienttesting.Action) (bool, kruntime.Object, error) {
		<-block
		return false, nil, nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	before := runtime.NumGoroutine()
	for i := range notes {
		r.Record(attach.Note{Reason: attach.StaleAttachmentCleared, Node: "node-a", Message: fmt.Sprint("attachment ", i)})
	}
	if grown := runtime.NumGoroutine() - before; grown > 0 {
		t.Errorf("%d goroutines more after %d notes, want none", grown, notes)
	}
	if lost := r.dropped.Load(); lost < notes-maxQueuedNotes-1 || lost > notes-maxQueuedNotes {
		t.Errorf("%d notes dropped, want all but the %d that may wait", lost, maxQueuedNotes)
	}
	close(block)
	for len(r.queue) > 0 {
		runtime.Gosched()
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
	if n := r.tries.Load(); n > 30 {
		t.Errorf("%d requests for a storm about one node, want at most 30", n)
	}
}

// While the API server is away notes wait and nothing is lost; what it refuses is given up, and the next is written.
func TestFailuresToWrite(t *testing.T) {
	away, refused := errors.New("connection refused"), error(apierrors.NewForbidden(corev1.Resource("events"), "x", errors.New("no")))
	busy := error(apierrors.NewTooManyRequests("later", 1))
	tests := map[string]struct {
		err  error
		want []string
	}{
		"away":    {away, []string{"node-a", "node-b"}},
		"busy":    {busy, []string{"node-a", "node-b"}},
		"refused": {refused, []string{"node-b"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRecording(t)
				r.run(t)
				r.fail.Store(&test.err)
				r.Record(attach.Note{Reason: attach.ClearingHeld, Node: "node-a"})
				advance(10 * time.Minute)
				if n := r.tries.Load(); n > 40 {
					t.Errorf("%d tries in 10 minutes: that hammers", n)
				}
				r.fail.Store(nil)
				r.Record(attach.Note{Reason: attach.ClearingHeld, Node: "node-b"})
				advance(time.Minute)
				var got []string
				for _, event := range r.events(t) {
					got = append(got, event.InvolvedObject.Name)
				}
				if diff := gocmp.Diff(test.want, got); diff != "" {
					t.Errorf("events on (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestRecorderEndsWhileTheAPIServerIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecording(t)
		away := errors.New("connection refused")
		r.fail.Store(&away)
		for range 10 {
			r.Record(attach.Note{Reason: attach.ClearingHeld, Node: "node-a"})
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		advance(time.Hour)
		cancel()
		synctest.Wait()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		default:
			t.Error("Run hasn't returned")
		}
		r.Record(attach.Note{Reason: attach.ClearingHeld, Node: "node-a"})
	})
}

// The API server forgets events after an hour; what goes on for longer gets a new one.
func TestAnEventThatExpiredIsWrittenAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecording(t)
		r.run(t)
		note := attach.Note{Reason: attach.DetachStuck, Node: "node-a", Message: "again"}
		r.Record(note)
		for _, event := range r.events(t) {
			if err := r.client.CoreV1().Events(event.Namespace).Delete(t.Context(), event.Name, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		advance(time.Hour)
		r.Record(note)
		if events := r.events(t); len(events) != 1 || events[0].Count != 2 {
			t.Errorf("got %+v, want one event that counts 2", events)
		}
	})
}

// Only an event that is gone is written anew. A count that is refused would only be refused again.
func TestACountThatIsRefusedIsNotWrittenAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecording(t)
		r.run(t)
		note := attach.Note{Reason: attach.DetachStuck, Node: "node-a", Message: "again"}
		r.Record(note)
		synctest.Wait()
		refused := refusals()["forbidden"]
		r.fail.Store(&refused)
		before := r.tries.Load()
		r.Record(note)
		synctest.Wait()
		if n := r.tries.Load() - before; n != 1 {
			t.Errorf("%d requests, want the one that was refused", n)
		}
	})
}

// roundTrips is a transport made of a function.
type roundTrips func(*http.Request) (*http.Response, error)

func (f roundTrips) RoundTrip(request *http.Request) (*http.Response, error) { return f(request) }

// An API server that takes a request and never answers must not keep all later notes from being written.
func TestAWriteThatGetsNoAnswerIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tries atomic.Int64
		client, err := kubernetes.NewForConfig(&rest.Config{Host: "http://192.0.2.1", Transport: roundTrips(func(request *http.Request) (*http.Response, error) {
			tries.Add(1)
			<-request.Context().Done()
			return nil, request.Context().Err()
		})})
		if err != nil {
			t.Fatal(err)
		}
		cluster, err := New(client, driver)
		if err != nil {
			t.Fatal(err)
		}
		r := &recording{Recorder: NewRecorder(cluster, func() {})}
		r.run(t)
		r.Record(attach.Note{Reason: attach.ClearingHeld, Node: "node-a"})
		advance(writeTimeout - time.Second)
		if n := tries.Load(); n != 1 {
			t.Errorf("%d requests before the time of the first was over, want 1", n)
		}
		advance(writeTimeout)
		if n := tries.Load(); n != 2 {
			t.Errorf("%d requests once it was over, want 2", n)
		}
	})
}

// What the API server refuses for good isn't written again; what may work later is.
func TestWhichAnswersToAnEventAreFinal(t *testing.T) {
	for code, want := range map[int32]bool{399: false, 400: true, 403: true, 409: true, 499: true, 429: false, 500: false, 503: false} {
		reason := metav1.StatusReasonUnknown
		if code == 429 {
			reason = metav1.StatusReasonTooManyRequests
		}
		err := &apierrors.StatusError{ErrStatus: metav1.Status{Code: code, Reason: reason}}
		if got := rejected(fmt.Errorf("create: %w", err)); got != want {
			t.Errorf("%d: got %t, want %t", code, got, want)
		}
	}
	if rejected(errors.New("connection refused")) {
		t.Error("no answer at all counts as one")
	}
}
