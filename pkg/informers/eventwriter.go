package informers

import (
	"context"
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/tools/record/util"
	"k8s.io/klog/v2"
)

const (
	// maxQueuedNotes is the maximum number of notes that wait to be written, as in client-go's broadcasters.
	maxQueuedNotes = 1000
	// writeTimeout bounds one request that writes an event.
	writeTimeout = 10 * time.Second
)

// eventWriter writes Kubernetes Events, one at a time, in the goroutine that calls Run, and starts no other.
//
// client-go's broadcasters aren't used. The one in tools/events starts a goroutine for each event and limits no rate.
// The one in tools/record starts a goroutine in its constructor that can't be waited for. Only the correlator of
// tools/record is used: identical events are counted in one Event, similar events are combined after the tenth in ten
// minutes, and an object gets 25 events at once and then one every five minutes.
type eventWriter struct {
	client     kubernetes.Interface
	reporter   string
	dropped    func()
	queue      chan queuedEvent
	correlator *record.EventCorrelator
}

// queuedEvent is an event on each of some objects, with the time at which it was recorded. It may be written much later.
type queuedEvent struct {
	// objects is called when the event is written. name, unless empty, is the name of the one Event, so that it isn't
	// written twice.
	objects         func() []corev1.ObjectReference
	name            string
	reason, message string
	warning         bool
	at              metav1.Time
}

func newEventWriter(client kubernetes.Interface, reporter string, dropped func()) *eventWriter {
	return &eventWriter{
		client: client, reporter: reporter, dropped: dropped, queue: make(chan queuedEvent, maxQueuedNotes),
		correlator: record.NewEventCorrelatorWithOptions(record.CorrelatorOptions{}),
	}
}

// enqueue has an event written soon. It never blocks. An event is dropped if 1,000 wait already, or if Run ends before
// it is written. enqueue is safe for concurrent use, also before Run and after it.
func (w *eventWriter) enqueue(event queuedEvent) {
	event.at = metav1.Now()
	select {
	case w.queue <- event:
	default:
		w.dropped()
	}
}

// Run writes events until ctx ends, and then returns nil. It is called once. While the API server can't be reached, it
// tries again with back-off, and events wait.
func (w *eventWriter) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case event := <-w.queue:
			for i, object := range event.objects() {
				name := event.name
				if name == "" {
					// A claim, its volume and a node may have the same name, but their events must not.
					name = util.GenerateEventName(object.Name, event.at.UnixNano()+int64(i))
				}
				w.write(ctx, w.eventOn(object, name, event))
			}
		}
	}
}

func (w *eventWriter) eventOn(object corev1.ObjectReference, name string, queued queuedEvent) *corev1.Event {
	event := &corev1.Event{
		ObjectMeta:          metav1.ObjectMeta{Name: name, Namespace: object.Namespace},
		InvolvedObject:      object,
		Reason:              queued.reason,
		Message:             queued.message,
		Type:                corev1.EventTypeNormal,
		Source:              corev1.EventSource{Component: w.reporter},
		ReportingController: w.reporter,
		FirstTimestamp:      queued.at,
		LastTimestamp:       queued.at,
		Count:               1,
	}
	if queued.warning {
		event.Type = corev1.EventTypeWarning
	}
	if event.Namespace == "" {
		event.Namespace = metav1.NamespaceDefault // where events on objects without a namespace belong
	}
	return event
}

// write writes an event, or counts it in one that was written before. It drops the event if there were too many.
func (w *eventWriter) write(ctx context.Context, event *corev1.Event) {
	logger := klog.FromContext(ctx).WithValues("reason", event.Reason, "object", klog.KRef(event.InvolvedObject.Namespace, event.InvolvedObject.Name))
	result, err := w.correlator.EventCorrelate(event)
	if err != nil {
		logger.Error(err, "Could not combine an event with those before it")
		return
	}
	if result.Skip {
		logger.V(4).Info("Dropped an event: there were too many on this object")
		return
	}
	backoff := wait.Backoff{Duration: time.Second, Factor: 2, Jitter: 0.2, Steps: 6, Cap: 30 * time.Second}
	err = backoff.DelayFunc().Until(ctx, true, true, func(ctx context.Context) (bool, error) {
		err := w.send(ctx, result)
		if err == nil || rejected(err) {
			return true, err
		}
		logger.V(2).Info("Could not write an event; trying again", "err", err)
		return false, nil
	})
	if err != nil && ctx.Err() == nil && !apierrors.IsAlreadyExists(err) {
		logger.Error(err, "The API server refuses an event")
	}
}

// send sends one request, or two if the event to count in has expired.
func (w *eventWriter) send(ctx context.Context, result *record.EventCorrelateResult) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	events, event := w.client.CoreV1().Events(result.Event.Namespace), result.Event
	if event.Count > 1 {
		_, err := events.Patch(ctx, event.Name, types.StrategicMergePatchType, result.Patch, metav1.PatchOptions{})
		if !apierrors.IsNotFound(err) {
			return err
		}
	}
	// The event is new, or the one to count in has expired.
	_, err := events.Create(ctx, event, metav1.CreateOptions{})
	return err
}

// rejected reports whether the API server refused an event for good, so that it is useless to try again.
func rejected(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	code := status.Status().Code
	return code >= 400 && code < 500 && !apierrors.IsTooManyRequests(err)
}
