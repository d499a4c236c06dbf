package attach

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
)

// Back-off of one attachment after errors: 500 ms, 1 s, 2 s, … 64 s, 2 min (max). An attachment is cleared late rather
// than hammered for; any event about it or its node brings it back at once.
const (
	backoffBase = 500 * time.Millisecond
	backoffMax  = 2 * time.Minute
)

// clearTimeout bounds the work on one attachment: a few requests to the API server.
const clearTimeout = 30 * time.Second

// ReconcilerConfig is how a Reconciler works.
type ReconcilerConfig struct {
	// Resync is how often every attachment is looked at again, in case an event was lost; more than 0.
	Resync time.Duration
	// Workers is how many attachments are looked at side by side; more than 0.
	Workers int
	// StuckAfter is how long a detach may take before people are told; more than 0.
	StuckAfter time.Duration
}

// Observer is told what the reconciler does, and tells it to hold. Its functions must be set, and must not block.
type Observer struct {
	// Done is called with what was done about an attachment, what that failed with, and how long it took.
	Done func(action Action, err error, took time.Duration)
	// Note is called with what people should know.
	Note func(Note)
	// Held is how long nothing may be cleared yet, because too many nodes vanished at once; 0 or less if it may.
	Held func() time.Duration
}

// Reconciler clears the attachments of nodes that are gone. Informers feed it the names of attachments that something
// happened to; it looks at each by itself.
type Reconciler struct {
	config    ReconcilerConfig
	cluster   Cluster
	appliance Appliance
	observer  Observer
	queue     workqueue.TypedRateLimitingInterface[string]
	started   atomic.Bool
}

// errAlreadyRun says that a Reconciler was run twice.
var errAlreadyRun = errors.New("a reconciler runs once")

// NewReconciler checks the configuration. Nothing happens before Run.
func NewReconciler(config ReconcilerConfig, cluster Cluster, appliance Appliance, observer Observer) (*Reconciler, error) {
	if config.Resync <= 0 {
		return nil, fmt.Errorf("attachment reconcile interval %s: want more than 0", config.Resync)
	}
	if config.Workers <= 0 {
		return nil, fmt.Errorf("attachment reconcile workers %d: want more than 0", config.Workers)
	}
	if config.StuckAfter <= 0 {
		return nil, fmt.Errorf("attachment stuck period %s: want more than 0", config.StuckAfter)
	}
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[string](backoffBase, backoffMax)
	queue := workqueue.NewTypedRateLimitingQueueWithConfig(limiter, workqueue.TypedRateLimitingQueueConfig[string]{Name: "attachments"})
	return &Reconciler{config: config, cluster: cluster, appliance: appliance, observer: observer, queue: queue}, nil
}

// Enqueue has an attachment looked at soon. It never blocks, and may be called before Run and after its end.
func (r *Reconciler) Enqueue(attachmentName string) { r.queue.Add(attachmentName) }

// Run waits for the caches, looks at every attachment once, and then at those that are enqueued, until ctx ends. It
// returns when every worker has.
func (r *Reconciler) Run(ctx context.Context) error {
	if r.started.Swap(true) {
		return errAlreadyRun
	}
	defer utilruntime.HandleCrashWithContext(ctx)
	var workers sync.WaitGroup
	defer workers.Wait()
	defer r.queue.ShutDown()
	if err := r.cluster.WaitForSync(ctx); err != nil {
		return fmt.Errorf("wait for the caches: %w", err)
	}
	logger := klog.FromContext(ctx)
	logger.Info("Clearing stale attachments", "workers", r.config.Workers, "resync", r.config.Resync)
	for range r.config.Workers {
		workers.Go(func() {
			for r.processNext(ctx) {
			}
		})
	}
	r.enqueueAll()
	resync := time.NewTicker(r.config.Resync)
	defer resync.Stop()
	for {
		select {
		case <-resync.C:
			r.enqueueAll()
		case <-ctx.Done():
			logger.Info("Stopping; waiting for the workers")
			return nil
		}
	}
}

func (r *Reconciler) enqueueAll() {
	for _, name := range r.cluster.CachedAttachments() {
		r.queue.Add(name)
	}
}

func (r *Reconciler) processNext(ctx context.Context) bool {
	name, shutdown := r.queue.Get()
	if shutdown {
		return false
	}
	defer r.queue.Done(name)
	if ctx.Err() != nil {
		return true
	}
	start := time.Now()
	result, err := r.workBounded(ctx, name)
	r.observer.Done(result.Action, err, time.Since(start))
	switch {
	case err != nil:
		klog.FromContext(ctx).Error(err, "Could not deal with an attachment; trying again with back-off", "attachment", name)
		r.queue.AddRateLimited(name)
		return true
	case result.Again > 0:
		r.queue.AddAfter(name, result.Again)
	}
	r.queue.Forget(name)
	return true
}

func (r *Reconciler) workBounded(ctx context.Context, name string) (Result, error) {
	ctx, cancel := context.WithTimeout(ctx, clearTimeout)
	defer cancel()
	return r.Work(ctx, name)
}
