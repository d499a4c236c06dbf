package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"git.srvlab.io/whiskey/rds-csi-driver/test/cluster"
)

// watcher reports to the timeline what the API server and the appliance show.
type watcher struct {
	old      place
	line     *timeline
	deletion func(resource, name string) (cluster.Deletion, error)
	client   kubernetes.Interface
	sim      string // URL of the simulator
	baseline int    // how many revocations there were before
}

// watch reports until ctx ends and returns once it sees the present state. The function waits for the end.
func (w *watcher) watch(ctx context.Context) (func(), error) {
	before, err := revocations(ctx, w.sim)
	if err != nil {
		return nil, err
	}
	w.baseline = len(before)
	factory := informers.NewSharedInformerFactory(w.client, 0)
	if err := errors.Join(
		handle(factory.Core().V1().Nodes().Informer(), nil, w.node),
		handle(factory.Core().V1().Pods().Informer(), w.pod, w.podDeleted),
		handle(factory.Storage().V1().VolumeAttachments().Informer(), w.attachment, w.attachmentDeleted),
	); err != nil {
		return nil, err
	}
	factory.StartWithContext(ctx)
	if err := factory.WaitForCacheSyncWithContext(ctx).AsError(); err != nil {
		return nil, fmt.Errorf("watch the cluster: %w", err)
	}
	polled := make(chan struct{})
	go func() {
		defer close(polled)
		w.poll(ctx)
	}()
	return func() {
		<-polled
		factory.Shutdown()
	}, nil
}

// handle calls seen for each object that is added or changed, and gone for each that is deleted.
func handle[T any](informer cache.SharedIndexInformer, seen, gone func(T)) error {
	call := func(f func(T), object any) {
		if tombstone, ok := object.(cache.DeletedFinalStateUnknown); ok {
			object = tombstone.Obj
		}
		if typed, ok := object.(T); ok && f != nil {
			f(typed)
		}
	}
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { call(seen, object) },
		UpdateFunc: func(_, object any) { call(seen, object) },
		DeleteFunc: func(object any) { call(gone, object) },
	})
	if err != nil {
		return fmt.Errorf("watch the cluster: %w", err)
	}
	return nil
}

func (w *watcher) node(node *corev1.Node) {
	if node.Name == w.old.node {
		w.line.reach(nodeDeleted, time.Now(), node.Name)
	}
}

func (w *watcher) pod(pod *corev1.Pod) {
	if pod.Name == w.old.pod && string(pod.UID) != w.old.uid && pod.Status.Phase == corev1.PodRunning {
		w.line.reach(runningElsewhere, time.Now(), fmt.Sprintf("%s on %s", pod.Name, pod.Spec.NodeName))
	}
}

func (w *watcher) podDeleted(pod *corev1.Pod) {
	if string(pod.UID) == w.old.uid {
		w.line.reach(podGone, w.deletedAt("pods", pod.Name), pod.Name)
	}
}

// deletedAt is when the API server accepted an object's deletion: two watches may tell of two changes in either order.
func (w *watcher) deletedAt(resource, name string) time.Time {
	if deletion, err := w.deletion(resource, name); err == nil {
		return deletion.At
	}
	return time.Now()
}

func (w *watcher) attachment(attachment *storagev1.VolumeAttachment) {
	if !w.ours(attachment) {
		return
	}
	if attachment.Spec.NodeName == w.old.node {
		if attachment.DeletionTimestamp == nil {
			return
		}
		if _, err := w.deletion("pods", w.old.pod); err == nil {
			// The pod went first; its watch just hasn't told yet.
			w.line.reach(podGone, w.deletedAt("pods", w.old.pod), w.old.pod)
		}
		w.line.reach(deletionAsked, w.deletedAt("volumeattachments", attachment.Name), short(attachment.Name)+" of "+attachment.Spec.NodeName)
		return
	}
	if attachment.Status.Attached {
		w.line.reach(attachedElsewhere, time.Now(), short(attachment.Name)+" to "+attachment.Spec.NodeName)
	}
}

func (w *watcher) attachmentDeleted(attachment *storagev1.VolumeAttachment) {
	if w.ours(attachment) && attachment.Spec.NodeName == w.old.node {
		// The appliance isn't watched but asked now and then, so what led to this may not be known yet.
		w.ask(context.Background())
		w.line.reach(attachmentGone, time.Now(), short(attachment.Name)+" of "+attachment.Spec.NodeName)
	}
}

func (w *watcher) ours(attachment *storagev1.VolumeAttachment) bool {
	name := attachment.Spec.Source.PersistentVolumeName
	return name != nil && *name == w.old.volume
}

// poll asks the appliance, which can't be watched.
func (w *watcher) poll(ctx context.Context) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		w.ask(ctx)
	}
}

// ask looks for the first revocation since the watch began. A failure shows as the milestone that is never reached.
func (w *watcher) ask(ctx context.Context) {
	list, err := revocations(ctx, w.sim)
	if err != nil || len(list) <= w.baseline {
		return
	}
	r := list[w.baseline]
	ended := r.Time.Add(time.Duration(r.Seconds * float64(time.Second)))
	w.line.reach(accessRevoked, ended, fmt.Sprintf("%s, confirmed %t after %.3f s", r.HostNQN, r.Confirmed, r.Seconds))
}

// short is as much of an attachment's name, which is a hash, as a reader needs.
func short(name string) string {
	const enough = 12
	return name[:min(enough, len(name))] + "…"
}
