package app

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordination "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/klog/v2"
)

const (
	// leaseName is the Lease by which the controllers of one cluster agree on who clears stale attachments.
	leaseName = "rds-csi-controller"
	// namespaceFile tells a pod its own namespace.
	namespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"
	// defaultNamespace is the one of the manifests.
	defaultNamespace = "rds-csi"
)

// electionOptions are the flags of the election.
type electionOptions struct {
	enabled   bool
	namespace string
	// A leader that couldn't renew for the time of renew ends its work; the others wait for the time of lease.
	lease, renew, retry time.Duration
}

func (o *electionOptions) addFlags(flags *flag.FlagSet) {
	flags.BoolVar(&o.enabled, "leader-election", true, "let only one of several controllers clear stale attachments; every one serves CSI")
	flags.StringVar(&o.namespace, "leader-election-namespace", "", "namespace of the Lease "+leaseName+"; default: the pod's own, else "+defaultNamespace)
	flags.DurationVar(&o.lease, "leader-election-lease-duration", 15*time.Second, "how long the others wait for a leader that is silent, in whole seconds")
	flags.DurationVar(&o.renew, "leader-election-renew-deadline", 10*time.Second, "how long a leader that can't renew goes on; less than the lease duration")
	flags.DurationVar(&o.retry, "leader-election-retry-period", 2*time.Second, "how long to wait between tries; the renew deadline must leave room for more than one")
}

func (o *electionOptions) validate() error {
	return failures([]check{
		{o.lease >= time.Second && o.lease%time.Second == 0, fmt.Errorf("--leader-election-lease-duration %s: want whole seconds, at least 1s", o.lease)},
		{o.renew < o.lease, fmt.Errorf("--leader-election-renew-deadline %s: want less than the lease duration %s, or two controllers could lead at once", o.renew, o.lease)},
		{o.retry > 0, fmt.Errorf("--leader-election-retry-period %s: want more than 0", o.retry)},
		{o.renew > time.Duration(leaderelection.JitterFactor*float64(o.retry)), fmt.Errorf("--leader-election-renew-deadline %s: want more than %g times the retry period %s", o.renew, leaderelection.JitterFactor, o.retry)},
	})
}

// worker is what only the leader does.
type worker interface {
	// Run works until ctx ends or Stop is called.
	Run(ctx context.Context) error
	// Stop ends Run and returns when it did everything it began.
	Stop()
}

// leading is told when leading begins and ends.
type leading interface {
	BeginLeading()
	EndLeading()
}

// election lets a worker run in at most one process at a time.
type election struct {
	options electionOptions
	lock    resourcelock.Interface
	work    worker
	tell    leading
}

// newElection prepares to stand for election, as a candidate that no other can be taken for.
func newElection(options electionOptions, config *rest.Config, work worker, tell leading) (*election, error) {
	// A client of its own: renewals must not wait behind the limit on everything else that is asked of the API server,
	// and one request that hangs must leave time for another.
	config = rest.CopyConfig(config)
	config.UserAgent += "/leader-election"
	config.QPS, config.Burst = 0, 0
	config.Timeout = options.renew / 2
	client, err := coordination.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make a client for the election of a leader: %w", err)
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("name a candidate after this host: %w", err)
	}
	return &election{options: options, work: work, tell: tell, lock: &resourcelock.LeaseLock{
		LeaseMeta:  metav1.ObjectMeta{Namespace: options.namespaceIn(namespaceFile), Name: leaseName},
		Client:     client,
		LockConfig: resourcelock.ResourceLockConfig{Identity: host + "_" + uuid.NewString()},
	}}, nil
}

// namespaceIn gives the flag's namespace, else the one that the file holds, else the one of the manifests.
func (o *electionOptions) namespaceIn(file string) string {
	if o.namespace != "" {
		return o.namespace
	}
	if content, err := os.ReadFile(file); err == nil && len(strings.TrimSpace(string(content))) > 0 { //nolint:gosec // a fixed name
		return strings.TrimSpace(string(content))
	}
	return defaultNamespace
}

// Run stands for election, works while it leads, and stands again when it has lost, until ctx ends or the work fails. The
// work has ended when it returns, and the lease was let go after that.
func (e *election) Run(ctx context.Context) error {
	var err error
	for err == nil && ctx.Err() == nil {
		err = e.stand(ctx)
	}
	e.release(ctx)
	return err
}

// stand is one candidacy, and the time of leading that follows if it is won.
func (e *election) stand(ctx context.Context) error {
	// The lease is kept for as long as the work takes to end, so what ends ctx must not end the election at once.
	electing, resign := context.WithCancel(context.WithoutCancel(ctx))
	defer resign()
	won, over := make(chan context.Context, 1), make(chan struct{})
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Name: leaseName, Lock: e.lock, LeaseDuration: e.options.lease, RenewDeadline: e.options.renew, RetryPeriod: e.options.retry,
		// Not ReleaseOnCancel: it lets go of the lease before the work has ended, and when the API server hangs it does so
		// before the work is even told to end, which is then late.
		Callbacks: leaderelection.LeaderCallbacks{OnStartedLeading: func(term context.Context) { won <- term }, OnStoppedLeading: e.work.Stop},
	})
	if err != nil {
		return fmt.Errorf("stand for election: %w", err)
	}
	go func() {
		defer close(over)
		elector.Run(electing)
	}()
	select {
	case term := <-won:
		err = e.lead(ctx, term)
	case <-over:
	case <-ctx.Done():
	}
	resign()
	<-over
	return err
}

// lead works until the term ends, which is when the lease is lost, or ctx does.
func (e *election) lead(ctx, term context.Context) error {
	term, end := context.WithCancel(term)
	defer end()
	defer context.AfterFunc(ctx, end)()
	logger := klog.FromContext(ctx)
	logger.Info("Leading: stale attachments are cleared by this process", "identity", e.lock.Identity())
	e.tell.BeginLeading()
	defer e.tell.EndLeading()
	err := e.work.Run(term)
	logger.Info("No longer leading")
	return err
}

// release lets go of the lease if it is held, so that another leads at once.
func (e *election) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.options.renew)
	defer cancel()
	held, _, err := e.lock.Get(ctx)
	if err != nil || held.HolderIdentity != e.lock.Identity() {
		return
	}
	now := metav1.Now()
	free := resourcelock.LeaderElectionRecord{LeaderTransitions: held.LeaderTransitions, LeaseDurationSeconds: 1, AcquireTime: now, RenewTime: now}
	if err := e.lock.Update(ctx, free); err != nil {
		klog.FromContext(ctx).Info("Could not let go of the lease; it runs out by itself", "err", err)
	}
}
