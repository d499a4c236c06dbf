package restart

import (
	"context"
	"fmt"
	"sync"
	"time"

	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
)

// The back-off of one workload after errors: 500 ms, 1 s, 2 s, … 64 s, 2 min (max).
const (
	backoffBase = 500 * time.Millisecond
	backoffMax  = 2 * time.Minute
)

const (
	// recheckAfter is the delay until the next look if a cache is behind the API server.
	recheckAfter = 2 * time.Second
	// workTimeout bounds the work on one workload: two requests for each pod that is deleted.
	workTimeout = time.Minute
)

// Config configures a Reconciler.
type Config struct {
	// Enabled has pods deleted. Otherwise it is only logged and counted which would be.
	Enabled bool
	// Share is how much of a workload may be restarted at a time; more than 0, at most 1. One pod always may.
	Share float64
	// Resync is the interval at which every workload with a report is looked at, in case an event was lost; more than 0.
	Resync time.Duration
	// Workers is the number of workloads that are looked at concurrently; more than 0.
	Workers int
}

// Observer is called with what the reconciler does. Its functions must be set, and must not block.
type Observer struct {
	// Done is called after each look at a pod with a report.
	Done func(Action)
	// Restarted is called for each pod that was deleted, and Withheld once for each that would have been, with the reason
	// that kubelet reports.
	Restarted, Withheld func(reason string)
	// Note is called with each event for people.
	Note func(Note)
}

// Reconciler restarts lost pods. Informers enqueue workloads after events. A workload is looked at by one worker at a
// time, so that its share holds. Its methods are safe for concurrent use.
type Reconciler struct {
	config       Config
	cluster      Cluster
	observer     Observer
	replacements *replacements
	told         *once

	mu    sync.Mutex
	queue workqueue.TypedRateLimitingInterface[string] // nil outside Run: a queue can't be used again after its shutdown
}

// NewReconciler returns a reconciler, or an error if the configuration is invalid. Nothing happens before Run.
func NewReconciler(config Config, cluster Cluster, observer Observer) (*Reconciler, error) {
	switch {
	case config.Share <= 0 || config.Share > 1:
		return nil, fmt.Errorf("share of a workload %g: want more than 0 and at most 1", config.Share)
	case config.Resync <= 0:
		return nil, fmt.Errorf("restart reconcile interval %s: want more than 0", config.Resync)
	case config.Workers <= 0:
		return nil, fmt.Errorf("restart reconcile workers %d: want more than 0", config.Workers)
	}
	return &Reconciler{config: config, cluster: cluster, observer: observer, replacements: newReplacements(), told: newOnce()}, nil
}

// Enqueue has a workload looked at soon. It never blocks. Outside Run it does nothing: each run begins with a look at
// every workload.
func (r *Reconciler) Enqueue(workload string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.queue != nil {
		r.queue.Add(workload)
	}
}

// Run waits for the caches, looks at every workload with a report once, and then at those that are enqueued, until ctx
// ends. It returns after every worker has returned, and may then be called again.
func (r *Reconciler) Run(ctx context.Context) error {
	defer utilruntime.HandleCrashWithContext(ctx)
	switch err := r.cluster.WaitForSync(ctx); {
	case ctx.Err() != nil:
		return nil // asked to end before there was anything to do
	case err != nil:
		return fmt.Errorf("wait for the caches: %w", err)
	}
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[string](backoffBase, backoffMax)
	queue := workqueue.NewTypedRateLimitingQueueWithConfig(limiter, workqueue.TypedRateLimitingQueueConfig[string]{Name: "workloads"})
	r.use(queue)
	var workers sync.WaitGroup
	defer workers.Wait()
	defer queue.ShutDown()
	defer r.use(nil)
	logger := klog.FromContext(ctx)
	logger.Info("Looking for pods whose volume's device is lost", "delete", r.config.Enabled, "share", r.config.Share, "resync", r.config.Resync)
	for range r.config.Workers {
		workers.Go(func() {
			for r.processNext(ctx, queue) {
			}
		})
	}
	resync := time.NewTicker(r.config.Resync)
	defer resync.Stop()
	for ctx.Err() == nil {
		r.enqueueAll()
		select {
		case <-resync.C:
		case <-ctx.Done():
		}
	}
	logger.Info("Stopping; waiting for the workers")
	return nil
}

func (r *Reconciler) use(queue workqueue.TypedRateLimitingInterface[string]) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queue = queue
}

func (r *Reconciler) enqueueAll() {
	workloads := r.cluster.CachedWorkloads()
	r.told.keep(workloads)
	for _, workload := range workloads {
		r.Enqueue(workload)
	}
}

// processNext works on the next workload in the queue. It returns false after the shutdown of the queue.
func (r *Reconciler) processNext(ctx context.Context, queue workqueue.TypedRateLimitingInterface[string]) bool {
	workload, shutdown := queue.Get()
	if shutdown {
		return false
	}
	defer queue.Done(workload)
	if ctx.Err() != nil {
		return true
	}
	bounded, cancel := context.WithTimeout(ctx, workTimeout)
	defer cancel()
	again, err := r.work(bounded, workload)
	if err != nil {
		klog.FromContext(ctx).Error(err, "Could not restart pods of a workload; trying again with back-off", "workload", workload)
		queue.AddRateLimited(workload)
		return true
	}
	if again > 0 {
		queue.AddAfter(workload, again)
	}
	queue.Forget(workload)
	return true
}
