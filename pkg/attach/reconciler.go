package attach

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
)

// The back-off of one attachment after errors: 500 ms, 1 s, 2 s, … 64 s, 2 min (max). An event about the attachment or
// its node has it checked at once.
const (
	backoffBase = 500 * time.Millisecond
	backoffMax  = 2 * time.Minute
)

const (
	// refreshTimeout bounds one Refresh, which is one command.
	refreshTimeout = 30 * time.Second
	// refreshRetry is the least delay until the next Refresh, and that after one has failed. It is short: the appliance may
	// have gone back in time while it was away, and must be checked soon after it is back.
	refreshRetry = 10 * time.Second
)

// clearTimeout bounds the work on one attachment: a few requests to the API server.
const clearTimeout = 30 * time.Second

// ReconcilerConfig configures a Reconciler.
type ReconcilerConfig struct {
	// Resync is the interval at which every attachment is checked, in case an event was lost; more than 0.
	Resync time.Duration
	// Workers is the number of attachments that are checked concurrently; more than 0.
	Workers int
	// StuckAfter is how long a detach may take before it is reported; more than 0.
	StuckAfter time.Duration
}

// Observer is called with what the reconciler does. Its functions must be set, and must not block.
type Observer struct {
	// Done is called after the work on each attachment, with its error or nil and its duration.
	Done func(action Action, err error, took time.Duration)
	// Note is called with each event for operators.
	Note func(Note)
	// Unfinished is called with what is stale or detaching, whenever that has changed.
	Unfinished func(Unfinished)
	// Phase is called when a phase of a failover is over, with how long it took.
	Phase func(phase Phase, took time.Duration)
	// PausedFor returns how long clearing stays paused because too many nodes vanished at once; 0 if it isn't paused.
	PausedFor func() time.Duration
}

// Reconciler clears stale and dead attachments. Informers enqueue the names of attachments after events, and workers
// check each of them. Its methods are safe for concurrent use.
type Reconciler struct {
	config    ReconcilerConfig
	cluster   Cluster
	appliance Appliance
	observer  Observer
	progress  *progress
	resync    chan struct{}

	mu      sync.Mutex
	current *run // nil outside Run
}

// run is the state of one call of Run.
type run struct {
	// queue belongs to this run only: a queue can't be used again after its shutdown.
	queue workqueue.TypedRateLimitingInterface[string]
	stop  context.CancelFunc
	ended chan struct{}
}

// errRunning is returned by Run if another call of it hasn't returned yet.
var errRunning = errors.New("the reconciler runs already")

// NewReconciler returns a reconciler, or an error if the configuration is invalid. Nothing happens before Run.
func NewReconciler(config ReconcilerConfig, cluster Cluster, appliance Appliance, observer Observer) (*Reconciler, error) {
	switch {
	case config.Resync <= 0:
		return nil, fmt.Errorf("attachment reconcile interval %s: want more than 0", config.Resync)
	case config.Workers <= 0:
		return nil, fmt.Errorf("attachment reconcile workers %d: want more than 0", config.Workers)
	case config.StuckAfter <= 0:
		return nil, fmt.Errorf("attachment stuck period %s: want more than 0", config.StuckAfter)
	}
	return &Reconciler{config: config, cluster: cluster, appliance: appliance, observer: observer, progress: newProgress(observer), resync: make(chan struct{}, 1)}, nil
}

// Enqueue has an attachment checked soon. It never blocks. Outside Run it does nothing: each run begins with a check of
// every attachment.
func (r *Reconciler) Enqueue(attachmentName string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.current != nil {
		r.current.queue.Add(attachmentName)
	}
}

// Appeared is called for every node that exists: when it is created, and once for each that existed from the start.
func (r *Reconciler) Appeared(node string) { r.progress.appeared(node) }

// Vanished is called for a node that was deleted, before its attachments are enqueued.
func (r *Reconciler) Vanished(node string) { r.progress.vanished(node) }

// Run waits for the caches, checks every attachment once, and then those that are enqueued, until ctx ends or Stop is
// called. It returns after every worker has returned, and may then be called again. A second call while it runs returns
// an error at once.
func (r *Reconciler) Run(ctx context.Context) error {
	defer utilruntime.HandleCrashWithContext(ctx)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	current, err := r.begin(stop)
	if err != nil {
		return err
	}
	defer r.end(current)
	return r.reconcile(ctx, current.queue)
}

// Stop ends the current run, if there is one, and returns after every worker of it has returned. A worker must not call
// it.
func (r *Reconciler) Stop() {
	r.mu.Lock()
	current := r.current
	r.mu.Unlock()
	if current == nil {
		return
	}
	current.stop()
	<-current.ended
}

// begin starts a run, or returns errRunning if there is one already.
func (r *Reconciler) begin(stop context.CancelFunc) (*run, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.current != nil {
		return nil, errRunning
	}
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[string](backoffBase, backoffMax)
	queue := workqueue.NewTypedRateLimitingQueueWithConfig(limiter, workqueue.TypedRateLimitingQueueConfig[string]{Name: "attachments"})
	r.current = &run{queue: queue, stop: stop, ended: make(chan struct{})}
	return r.current, nil
}

func (r *Reconciler) end(current *run) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.current = nil
	r.progress.reset()
	close(current.ended)
}

// reconcile does the work of one run. Everything that it started has ended when it returns.
func (r *Reconciler) reconcile(ctx context.Context, queue workqueue.TypedRateLimitingInterface[string]) error {
	var workers sync.WaitGroup
	defer workers.Wait()
	defer queue.ShutDown()
	switch err := r.cluster.WaitForSync(ctx); {
	case ctx.Err() != nil:
		return nil // asked to end before there was anything to do
	case err != nil:
		return fmt.Errorf("wait for the caches: %w", err)
	}
	logger := klog.FromContext(ctx)
	logger.Info("Clearing stale attachments", "workers", r.config.Workers, "resync", r.config.Resync)
	for range r.config.Workers {
		workers.Go(func() {
			for r.processNext(ctx, queue) {
			}
		})
	}
	r.enqueueAll(queue) // a stale attachment is found without the appliance
	resync := time.NewTicker(r.config.Resync)
	defer resync.Stop()
	for due := false; ctx.Err() == nil; {
		err := r.refresh(ctx)
		if err != nil && ctx.Err() == nil {
			logger.Error(err, "Could not read the appliance's records; trying again", "after", refreshRetry)
		}
		// Nothing is known anew after an error, and what is due to be looked at later mustn't be looked at now.
		if err == nil || due {
			r.enqueueAll(queue)
		}
		due = r.awaitRefresh(ctx, resync.C, err)
	}
	logger.Info("Stopping; waiting for the workers")
	return nil
}

// awaitRefresh waits until the records have to be read again, and reports whether that is because a resync is due. A Refresh
// that failed is repeated after refreshRetry. Resync counts from then on, too: a Refresh that loses the connection to the
// appliance must not bring about the next one at once.
func (r *Reconciler) awaitRefresh(ctx context.Context, resync <-chan time.Time, failure error) (due bool) {
	pause := time.NewTimer(refreshRetry)
	defer pause.Stop()
	var asked <-chan struct{}
	for {
		select {
		case <-resync:
			return true
		case <-pause.C:
			if failure != nil {
				return false
			}
			asked = r.resync
		case <-asked:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// Resync has every record of the appliance read again and every attachment checked soon: at once, unless that was done less
// than refreshRetry ago. It is called when the appliance may have gone back in time. It never blocks.
func (r *Reconciler) Resync() {
	select {
	case r.resync <- struct{}{}:
	default:
	}
}

func (r *Reconciler) refresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, refreshTimeout)
	defer cancel()
	return r.appliance.Refresh(ctx)
}

func (r *Reconciler) enqueueAll(queue workqueue.TypedRateLimitingInterface[string]) {
	names := r.cluster.CachedAttachments()
	r.progress.keep(names)
	for _, name := range names {
		queue.Add(name)
	}
}

// processNext works on the next attachment in the queue. It returns false after the shutdown of the queue.
func (r *Reconciler) processNext(ctx context.Context, queue workqueue.TypedRateLimitingInterface[string]) bool {
	name, shutdown := queue.Get()
	if shutdown {
		return false
	}
	defer queue.Done(name)
	if ctx.Err() != nil {
		return true
	}
	start := time.Now()
	bounded, cancel := context.WithTimeout(ctx, clearTimeout)
	defer cancel()
	result, err := r.Work(bounded, name)
	r.observer.Done(result.Action, err, time.Since(start))
	switch {
	case err != nil:
		klog.FromContext(ctx).Error(err, "Could not check or clear an attachment; trying again with back-off", "attachment", name)
		queue.AddRateLimited(name)
		return true
	case result.Again > 0:
		queue.AddAfter(name, result.Again)
	}
	queue.Forget(name)
	return true
}
