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
	// reporter is what events name as the one who reports them.
	reporter = "rds-csi-controller"
	// maxQueuedNotes bounds what waits to be written; client-go's broadcasters have the same bound.
	maxQueuedNotes = 1000
	// writeTimeout bounds one request that writes an event.
	writeTimeout = 10 * time.Second
)

// Recorder turns notes into Kubernetes Events, on the objects that people look at. It writes one event at a time, from the
// goroutine that runs it, and starts no other. client-go's own broadcasters don't fit: the one in tools/events starts a
// goroutine for each event and limits no rate, the one in tools/record starts with its constructor and can't be waited
// for. What tools/record knows of events that repeat is used: identical ones are counted in one Event, similar ones are
// combined after the tenth in ten minutes, and an object gets 25 at once and then one in five minutes.
type Recorder struct {
	cluster    *Cluster
	dropped    func()
	queue      chan happening
	correlator *record.EventCorrelator
}

// happening is a note and when it was made, which may be long before it can be written.
type happening struct {
	attach.Note
	at metav1.Time
}

// NewRecorder sets a recorder up; nothing is written before Run. dropped is called for each note that is lost because too
// many wait already; it must not block.
func NewRecorder(cluster *Cluster, dropped func()) *Recorder {
	return &Recorder{
		cluster: cluster, dropped: dropped, queue: make(chan happening, maxQueuedNotes),
		correlator: record.NewEventCorrelatorWithOptions(record.CorrelatorOptions{}),
	}
}

// Record has a note written soon. It never blocks: a note that comes when too many wait already is dropped, and so is what
// waits when Run ends. It is safe for concurrent use, also before Run and after it.
func (r *Recorder) Record(note attach.Note) {
	select {
	case r.queue <- happening{Note: note, at: metav1.Now()}:
	default:
		r.dropped()
	}
}

// Run writes notes until ctx ends. It is called once. While the API server can't be reached it tries again with back-off,
// and notes wait.
func (r *Recorder) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case seen := <-r.queue:
			for i, object := range r.objects(seen.Note) {
				// A claim, its volume and a node may bear the same name, and their events must not.
				name := util.GenerateEventName(object.Name, seen.at.UnixNano()+int64(i))
				r.write(ctx, eventOn(object, name, seen))
			}
		}
	}
}

// objects are what a note is shown on: the claim and the volume, the node, and the driver if it is about none of these.
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
		// A kubelet puts the node's name in the place of the UID, and that is how events are found for a node, whether
		// its Node object still exists or not.
		objects = append(objects, corev1.ObjectReference{APIVersion: "v1", Kind: "Node", Name: note.Node, UID: types.UID(note.Node)})
	}
	if len(objects) == 0 {
		objects = append(objects, corev1.ObjectReference{APIVersion: storagev1.SchemeGroupVersion.String(), Kind: "CSIDriver", Name: r.cluster.driver})
	}
	return objects
}

func (r *Recorder) volumeObjects(pv string) []corev1.ObjectReference {
	volume, err := r.cluster.factory.Core().V1().PersistentVolumes().Lister().Get(pv)
	if err != nil {
		// It is gone, or not seen yet: its name still tells people what the event is about.
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

func eventOn(object corev1.ObjectReference, name string, seen happening) *corev1.Event {
	event := &corev1.Event{
		ObjectMeta:          metav1.ObjectMeta{Name: name, Namespace: object.Namespace},
		InvolvedObject:      object,
		Reason:              string(seen.Reason),
		Message:             seen.Message,
		Type:                corev1.EventTypeNormal,
		Source:              corev1.EventSource{Component: reporter},
		ReportingController: reporter,
		FirstTimestamp:      seen.at,
		LastTimestamp:       seen.at,
		Count:               1,
	}
	if seen.Warning {
		event.Type = corev1.EventTypeWarning
	}
	if event.Namespace == "" {
		event.Namespace = metav1.NamespaceDefault // where events on objects without a namespace belong
	}
	return event
}

// write writes an event, or adds to one that was written before, unless there are too many of its kind.
func (r *Recorder) write(ctx context.Context, event *corev1.Event) {
	logger := klog.FromContext(ctx).WithValues("reason", event.Reason, "object", klog.KRef(event.InvolvedObject.Namespace, event.InvolvedObject.Name))
	result, err := r.correlator.EventCorrelate(event)
	if err != nil {
		logger.Error(err, "Could not combine an event with those before it")
		return
	}
	if result.Skip {
		logger.V(4).Info("Left out an event: there were too many on this object")
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
	// A new one, or one that has expired since.
	_, err := events.Create(ctx, event, metav1.CreateOptions{})
	return err
}

// rejected tells whether the API server has decided against an event, so that trying again is no use.
func rejected(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	code := status.Status().Code
	return code >= 400 && code < 500 && !apierrors.IsTooManyRequests(err)
}
