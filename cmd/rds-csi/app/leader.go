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
	// controllerLease is the name of the Lease by which the controllers of one cluster elect the one that clears
	// attachments.
	controllerLease = "rds-csi-controller"
	// namespaceFile has the namespace of the pod that reads it.
	namespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"
	// defaultNamespace is the namespace in the manifests.
	defaultNamespace = "rds-csi"
)

// electionOptions are the flags of the leader election.
type electionOptions struct {
	// leaseName is the name of the Lease, and agent what the candidates call themselves in requests to the API server.
	leaseName, agent string

	enabled   bool
	namespace string
	// A leader ends its tasks if it couldn't renew the lease for the duration of renew. The others wait for that of lease.
	lease, renew, retry time.Duration
}

// addFlags registers the flags. help is about the flag that switches the election off.
func (o *electionOptions) addFlags(flags *flag.FlagSet, help string) {
	flags.BoolVar(&o.enabled, "leader-election", true, help)
	flags.StringVar(&o.namespace, "leader-election-namespace", "", "namespace of the Lease "+o.leaseName+"; default: the pod's own, else "+defaultNamespace)
	flags.DurationVar(&o.lease, "leader-election-lease-duration", 15*time.Second, "how long the others wait for a leader that doesn't renew its lease, in whole seconds")
	flags.DurationVar(&o.renew, "leader-election-renew-deadline", 10*time.Second, "how long a leader that can't renew its lease goes on; less than the lease duration")
	flags.DurationVar(&o.retry, "leader-election-retry-period", 2*time.Second, "how long to wait between tries; the renew deadline must leave room for more than one")
}

func (o *electionOptions) validate() error {
	return failures([]check{
		{o.lease >= time.Second && o.lease%time.Second == 0, fmt.Errorf("--leader-election-lease-duration %s: want whole seconds, at least 1s", o.lease)},
		{o.renew < o.lease, fmt.Errorf("--leader-election-renew-deadline %s: want less than the lease duration %s, or two could lead at once", o.renew, o.lease)},
		{o.retry > 0, fmt.Errorf("--leader-election-retry-period %s: want more than 0", o.retry)},
		{o.renew > time.Duration(leaderelection.JitterFactor*float64(o.retry)), fmt.Errorf("--leader-election-renew-deadline %s: want more than %g times the retry period %s", o.renew, leaderelection.JitterFactor, o.retry)},
	})
}

// runner is what only the leader runs.
type runner interface {
	// Run returns when ctx ends, Stop is called, or it has failed.
	Run(ctx context.Context) error
	// Stop ends Run, and returns when everything that Run started has ended.
	Stop()
}

// leadershipObserver is called when this process begins to lead and when it no longer leads.
type leadershipObserver interface {
	BeginLeading()
	EndLeading()
}

// election runs the tasks of the leader in at most one process at a time.
type election struct {
	options  electionOptions
	lock     resourcelock.Interface
	tasks    runner
	observer leadershipObserver
}

// newElection returns an election in which this process has a unique identity.
func newElection(options electionOptions, config *rest.Config, tasks runner, observer leadershipObserver) (*election, error) {
	// The election has a client of its own, without a rate limit: renewals must not wait behind other requests. Its
	// timeout leaves time for a second request if the first one hangs.
	config = rest.CopyConfig(config)
	config.UserAgent += "/leader-election"
	config.QPS, config.Burst = 0, 0
	config.Timeout = options.renew / 2
	client, err := coordination.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("create a client for the leader election: %w", err)
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("read the host name for the leader election: %w", err)
	}
	return &election{options: options, tasks: tasks, observer: observer, lock: &resourcelock.LeaseLock{
		LeaseMeta:  metav1.ObjectMeta{Namespace: options.namespaceIn(namespaceFile), Name: options.leaseName},
		Client:     client,
		LockConfig: resourcelock.ResourceLockConfig{Identity: host + "_" + uuid.NewString()},
	}}, nil
}

// runLeading returns a function that runs the tasks of the leader: after an election, or at once if the flags switch
// the election off.
func runLeading(options electionOptions, kube kubeOptions, tasks runner, observer leadershipObserver) (func(context.Context) error, error) {
	if !options.enabled {
		return func(ctx context.Context) error {
			observer.BeginLeading()
			defer observer.EndLeading()
			return tasks.Run(ctx)
		}, nil
	}
	config, err := kube.config(options.agent)
	if err != nil {
		return nil, err
	}
	election, err := newElection(options, config, tasks, observer)
	if err != nil {
		return nil, err
	}
	return election.Run, nil
}

// namespaceIn returns the namespace of the flag, else the one in the file, else that of the manifests.
func (o *electionOptions) namespaceIn(file string) string {
	if o.namespace != "" {
		return o.namespace
	}
	if content, err := os.ReadFile(file); err == nil && len(strings.TrimSpace(string(content))) > 0 { //nolint:gosec // a fixed name
		return strings.TrimSpace(string(content))
	}
	return defaultNamespace
}

// Run takes part in elections until ctx ends or the tasks fail. While it leads, it runs the tasks. If it loses the
// lease, it takes part again. It returns after the tasks have ended and the lease was released.
func (e *election) Run(ctx context.Context) error {
	var err error
	for err == nil && ctx.Err() == nil {
		err = e.runForTerm(ctx)
	}
	e.release(ctx)
	return err
}

// runForTerm waits until this process leads, and then leads until the term ends.
func (e *election) runForTerm(ctx context.Context) error {
	// The lease must be kept until the tasks have ended, so the end of ctx must not end the election at once.
	electing, resign := context.WithCancel(context.WithoutCancel(ctx))
	defer resign()
	won, over := make(chan context.Context, 1), make(chan struct{})
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Name: e.options.leaseName, Lock: e.lock, LeaseDuration: e.options.lease, RenewDeadline: e.options.renew, RetryPeriod: e.options.retry,
		// ReleaseOnCancel isn't set: it would release the lease before the tasks have ended. If the API server hangs, it
		// would even delay OnStoppedLeading.
		Callbacks: leaderelection.LeaderCallbacks{OnStartedLeading: func(term context.Context) { won <- term }, OnStoppedLeading: e.tasks.Stop},
	})
	if err != nil {
		return fmt.Errorf("set up the leader election: %w", err)
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

// lead runs the tasks until ctx ends or the term does. The term ends when the lease is lost.
func (e *election) lead(ctx, term context.Context) error {
	term, end := context.WithCancel(term)
	defer end()
	defer context.AfterFunc(ctx, end)()
	logger := klog.FromContext(ctx)
	logger.Info("Leading: this process does what only one may do", "lease", e.options.leaseName, "identity", e.lock.Identity())
	e.observer.BeginLeading()
	defer e.observer.EndLeading()
	err := e.tasks.Run(term)
	logger.Info("No longer leading")
	return err
}

// release releases the lease if this process has it, so that another one can lead at once.
func (e *election) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.options.renew)
	defer cancel()
	lease, _, err := e.lock.Get(ctx)
	if err != nil || lease.HolderIdentity != e.lock.Identity() {
		return
	}
	now := metav1.Now()
	free := resourcelock.LeaderElectionRecord{LeaderTransitions: lease.LeaderTransitions, LeaseDurationSeconds: 1, AcquireTime: now, RenewTime: now}
	if err := e.lock.Update(ctx, free); err != nil {
		klog.FromContext(ctx).Info("Could not release the lease; it expires by itself", "err", err)
	}
}
