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

// Back-off of one attachment after errors: 500 ms, 1 s, 2 s, … 64 s, 2 min (max). An attachment is cleared late rather
// than hammered for; any event about it or its node brings it back at once.
const (
	backoffBase = 500 * time.Millisecond
	backoffMax  = 2 * time.Minute
)

const (
	// refreshTimeout bounds the reading of every record, which is one command.
	refreshTimeout = 30 * time.Second
	// refreshRetry is when it is tried again while the appliance is away or booting: an appliance that went back in time
	// must not be left alone for longer than it takes to come back.
	refreshRetry = 10 * time.Second
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

// Observer is called with what the reconciler does. Its functions must be set, and must not block.
type Observer struct {
	// Done is called with what was done about an attachment, what that failed with, and how long it took.
	Done func(action Action, err error, took time.Duration)
	// Note is called with what people should know.
	Note func(Note)
	// PausedFor returns how long clearing stays paused because too many nodes vanished at once; 0 if it isn't.
	PausedFor func() time.Duration
}

// Reconciler clears the attachments of nodes that are gone. Informers feed it the names of attachments that something
// happened to; it looks at each by itself.
type Reconciler struct {
	config    ReconcilerConfig
	cluster   Cluster
	appliance Appliance
	observer  Observer
	resync    chan struct{}

	mu      sync.Mutex
	current *run // nil outside Run
}

// run is one time that a Reconciler runs.
type run struct {
	// queue belongs to this run alone: a queue that was shut down can't be used again.
	queue workqueue.TypedRateLimitingInterface[string]
	stop  context.CancelFunc
	ended chan struct{}
}

// errRunning says that a Reconciler was run a second time while it runs.
var errRunning = errors.New("the reconciler runs already")

// NewReconciler checks the configuration. Nothing happens before Run.
func NewReconciler(config ReconcilerConfig, cluster Cluster, appliance Appliance, observer Observer) (*Reconciler, error) {
	switch {
	case config.Resync <= 0:
		return nil, fmt.Errorf("attachment reconcile interval %s: want more than 0", config.Resync)
	case config.Workers <= 0:
		return nil, fmt.Errorf("attachment reconcile workers %d: want more than 0", config.Workers)
	case config.StuckAfter <= 0:
		return nil, fmt.Errorf("attachment stuck period %s: want more than 0", config.StuckAfter)
	}
	return &Reconciler{config: config, cluster: cluster, appliance: appliance, observer: observer, resync: make(chan struct{}, 1)}, nil
}

// Enqueue has an attachment looked at soon. It never blocks. Outside Run it does nothing, and nothing is lost by that:
// each run begins with a look at every attachment.
func (r *Reconciler) Enqueue(attachmentName string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.current != nil {
		r.current.queue.Add(attachmentName)
	}
}

// Run waits for the caches, looks at every attachment once, and then at those that are enqueued, until ctx ends or Stop
// is called. It returns when every worker has. It may be called again after that; while it runs, a second call is an
// error at once.
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

// Stop ends the run, if there is one, and returns when every worker of it has returned. It must not be called by a
// worker.
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
	close(current.ended)
}

// reconcile is one run. Everything that it started has ended when it returns.
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
	r.enqueueAll(queue)
	resync := time.NewTicker(r.config.Resync)
	defer resync.Stop()
	for {
		// Until here only what Kubernetes says by itself was looked at; now what the appliance says, too.
		var retry <-chan time.Time
		if err := r.refresh(ctx); err != nil && ctx.Err() == nil {
			logger.Error(err, "Could not read the records on the appliance; trying again", "after", refreshRetry)
			retry = time.After(refreshRetry)
		}
		r.enqueueAll(queue)
		select {
		case <-resync.C:
		case <-retry:
		case <-r.resync:
		case <-ctx.Done():
			logger.Info("Stopping; waiting for the workers")
			return nil
		}
	}
}

// Resync has every record of the appliance read again and every attachment looked at, soon: the appliance may have come
// back another than it went. It never blocks.
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
	for _, name := range r.cluster.CachedAttachments() {
		queue.Add(name)
	}
}

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
		klog.FromContext(ctx).Error(err, "Could not deal with an attachment; trying again with back-off", "attachment", name)
		queue.AddRateLimited(name)
		return true
	case result.Again > 0:
		queue.AddAfter(name, result.Again)
	}
	queue.Forget(name)
	return true
}
