package informers

import (
	"context"
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/tools/record/util"
	"k8s.io/klog/v2"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
)

const (
	// reporter is the component that events name as their source.
	reporter = "rds-csi-controller"
	// maxQueuedNotes is the maximum number of notes that wait to be written, as in client-go's broadcasters.
	maxQueuedNotes = 1000
	// writeTimeout bounds one request that writes an event.
	writeTimeout = 10 * time.Second
)

// Recorder writes notes as Kubernetes Events on the objects that they are about. It writes one event at a time, in the
// goroutine that calls Run, and starts no other.
//
// client-go's broadcasters aren't used. The one in tools/events starts a goroutine for each event and limits no rate.
// The one in tools/record starts a goroutine in its constructor that can't be waited for. Only the correlator of
// tools/record is used: identical events are counted in one Event, similar events are combined after the tenth in ten
// minutes, and an object gets 25 events at once and then one every five minutes.
type Recorder struct {
	cluster    *Cluster
	dropped    func()
	queue      chan queuedNote
	correlator *record.EventCorrelator
}

// queuedNote is a note with the time at which it was recorded. It may be written much later.
type queuedNote struct {
	attach.Note
	at metav1.Time
}

// NewRecorder returns a recorder. It writes nothing before Run. dropped is called for each note that is lost because
// too many wait already. It must not block.
func NewRecorder(cluster *Cluster, dropped func()) *Recorder {
	return &Recorder{
		cluster: cluster, dropped: dropped, queue: make(chan queuedNote, maxQueuedNotes),
		correlator: record.NewEventCorrelatorWithOptions(record.CorrelatorOptions{}),
	}
}

// Record has a note written soon. It never blocks. A note is dropped if 1,000 wait already, or if Run ends before it is
// written. Record is safe for concurrent use, also before Run and after it.
func (r *Recorder) Record(note attach.Note) {
	select {
	case r.queue <- queuedNote{Note: note, at: metav1.Now()}:
	default:
		r.dropped()
	}
}

// Run writes notes until ctx ends, and then returns nil. It is called once. While the API server can't be reached, it
// tries again with back-off, and notes wait.
func (r *Recorder) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case note := <-r.queue:
			for i, object := range r.objects(note.Note) {
				// A claim, its volume and a node may have the same name, but their events must not.
				name := util.GenerateEventName(object.Name, note.at.UnixNano()+int64(i))
				r.write(ctx, eventOn(object, name, note))
			}
		}
	}
}

// objects returns the objects that a note is about: volume and claim, the node, or else the driver.
func (r *Recorder) objects(note attach.Note) []corev1.ObjectReference {
	var objects []corev1.ObjectReference
	pvs := []string{note.PV}
	if note.PV == "" {
		pvs = r.cluster.pvsOf(note.Volume) // none if the cache doesn't know the handle
	}
	for _, pv := range pvs {
		objects = append(objects, r.volumeObjects(pv)...)
	}
	if note.Node != "" {
		// kubelet writes the node's name instead of the UID. "kubectl describe node" finds events that way, and it also works
		// if the Node object is gone.
		objects = append(objects, corev1.ObjectReference{APIVersion: "v1", Kind: "Node", Name: note.Node, UID: types.UID(note.Node)})
	}
	if len(objects) == 0 {
		objects = append(objects, corev1.ObjectReference{APIVersion: storagev1.SchemeGroupVersion.String(), Kind: "CSIDriver", Name: r.cluster.driver})
	}
	return objects
}

// volumeObjects returns the PersistentVolume and the claim that is bound to it.
func (r *Recorder) volumeObjects(pv string) []corev1.ObjectReference {
	volume, err := r.cluster.factory.Core().V1().PersistentVolumes().Lister().Get(pv)
	if err != nil {
		// It is gone or not cached yet. Its name still shows what the event is about.
		return []corev1.ObjectReference{{APIVersion: "v1", Kind: "PersistentVolume", Name: pv}}
	}
	objects := []corev1.ObjectReference{{APIVersion: "v1", Kind: "PersistentVolume", Name: pv, UID: volume.UID}}
	if claim := volume.Spec.ClaimRef; claim != nil {
		objects = append(objects, corev1.ObjectReference{
			APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID,
		})
	}
	return objects
}

func eventOn(object corev1.ObjectReference, name string, note queuedNote) *corev1.Event {
	event := &corev1.Event{
		ObjectMeta:          metav1.ObjectMeta{Name: name, Namespace: object.Namespace},
		InvolvedObject:      object,
		Reason:              string(note.Reason),
		Message:             note.Message,
		Type:                corev1.EventTypeNormal,
		Source:              corev1.EventSource{Component: reporter},
		ReportingController: reporter,
		FirstTimestamp:      note.at,
		LastTimestamp:       note.at,
		Count:               1,
	}
	if note.Warning {
		event.Type = corev1.EventTypeWarning
	}
	if event.Namespace == "" {
		event.Namespace = metav1.NamespaceDefault // where events on objects without a namespace belong
	}
	return event
}

// write writes an event, or counts it in one that was written before. It drops the event if there were too many.
func (r *Recorder) write(ctx context.Context, event *corev1.Event) {
	logger := klog.FromContext(ctx).WithValues("reason", event.Reason, "object", klog.KRef(event.InvolvedObject.Namespace, event.InvolvedObject.Name))
	result, err := r.correlator.EventCorrelate(event)
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
		err := r.send(ctx, result)
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
func (r *Recorder) send(ctx context.Context, result *record.EventCorrelateResult) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	events, event := r.cluster.client.CoreV1().Events(result.Event.Namespace), result.Event
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
