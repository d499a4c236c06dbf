package informers

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	coreinformers "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
)

// podWatches watches the pods of single nodes. There is one watch for each node with an attachment that waits for pods,
// and it ends when none waits any more. Such nodes are few. A watch of all pods would cost more than all other caches
// together.
type podWatches struct {
	client   kubernetes.Interface
	onChange func(attachmentName string)

	mu      sync.Mutex
	byNode  map[string]*podWatch
	stopped bool
}

type podWatch struct {
	factory informers.SharedInformerFactory
	cancel  context.CancelFunc
	// waiting has the names of the attachments that wait for the node's pods.
	waiting map[string]bool
}

// newPodWatches returns podWatches. onChange is called with the name of each attachment that waits for a node's pods
// after one of those pods has changed.
func newPodWatches(client kubernetes.Interface, onChange func(attachmentName string)) *podWatches {
	return &podWatches{client: client, onChange: onChange, byNode: map[string]*podWatch{}}
}

// on returns the pods bound to an attachment's node, and notes that the attachment waits for them. It starts a watch if
// there is none yet.
func (w *podWatches) on(ctx context.Context, attachment attach.Attachment) ([]*corev1.Pod, error) {
	factory, err := w.start(ctx, attachment)
	if err != nil {
		return nil, err
	}
	pods := factory.Core().V1().Pods()
	if !cache.WaitForCacheSync(ctx.Done(), pods.Informer().HasSynced) {
		return nil, fmt.Errorf("list the pods of node %s: %w", attachment.NodeName, errNotSynced)
	}
	return pods.Lister().List(labels.Everything())
}

// start returns the factory of the watch of the attachment's node. It starts the watch if there is none yet.
func (w *podWatches) start(ctx context.Context, attachment attach.Attachment) (informers.SharedInformerFactory, error) {
	nodeName := attachment.NodeName
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped {
		return nil, context.Canceled
	}
	if watch := w.byNode[nodeName]; watch != nil {
		watch.waiting[attachment.Name] = true
		return watch.factory, nil
	}
	factory := informers.NewSharedInformerFactoryWithOptions(w.client, 0,
		informers.WithTransform(trim{}.object),
		informers.WithTweakListOptions(func(options *metav1.ListOptions) {
			options.FieldSelector = fields.OneTermEqualSelector("spec.nodeName", nodeName).String()
		}))
	if _, err := factory.Core().V1().Pods().TypedInformer().AddTypedEventHandler(coreinformers.PodHandlerFuncs{
		UpdateFunc: func(_, _ *corev1.Pod) { w.changed(nodeName) },
		DeleteFunc: func(coreinformers.DeletedPod) { w.changed(nodeName) },
	}); err != nil {
		return nil, fmt.Errorf("watch the pods of node %s: %w", nodeName, err)
	}
	// The watch outlives this call. stopWaiting, stop and stopAll end it.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	factory.StartWithContext(ctx)
	w.byNode[nodeName] = &podWatch{factory: factory, cancel: cancel, waiting: map[string]bool{attachment.Name: true}}
	return factory, nil
}

// changed calls onChange for every attachment that waits for the node's pods.
func (w *podWatches) changed(nodeName string) {
	w.mu.Lock()
	var waiting []string
	if watch := w.byNode[nodeName]; watch != nil {
		waiting = slices.Sorted(maps.Keys(watch.waiting))
	}
	w.mu.Unlock()
	for _, name := range waiting {
		w.onChange(name)
	}
}

// stopWaiting notes that an attachment doesn't wait for the node's pods any more. It ends the watch if no other one
// waits.
func (w *podWatches) stopWaiting(nodeName, attachmentName string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	watch := w.byNode[nodeName]
	if watch == nil {
		return
	}
	if delete(watch.waiting, attachmentName); len(watch.waiting) == 0 {
		delete(w.byNode, nodeName)
		watch.cancel()
	}
}

// stop ends the watch of one node's pods, if there is one.
func (w *podWatches) stop(nodeName string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if watch := w.byNode[nodeName]; watch != nil {
		delete(w.byNode, nodeName)
		watch.cancel()
	}
}

// stopAll ends every watch and waits for its goroutines. No watch can be started after that.
func (w *podWatches) stopAll() {
	w.mu.Lock()
	watches := w.byNode
	w.byNode, w.stopped = map[string]*podWatch{}, true
	w.mu.Unlock()
	for _, watch := range watches {
		watch.cancel()
		watch.factory.Shutdown()
	}
}
