package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/controller"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/informers"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/metrics"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

// startTimeout bounds the one question to the API server that must be answered before anything can be served.
const startTimeout = 30 * time.Second

// RunController serves the controller service and clears stale attachments until ctx ends. It returns when everything
// that it started has ended.
func RunController(ctx context.Context, options *ControllerOptions) error {
	options.appliance.config.ClusterID = options.clusterID
	var client kubernetes.Interface
	if options.kubernetes {
		var err error
		if client, err = newClient(options); err != nil {
			return err
		}
		if err := defaultClusterID(ctx, client, options); err != nil {
			return err
		}
	}
	observed := metrics.NewController()
	lost := observeAppliance(&options.appliance, observed)
	appliance, err := options.appliance.connect()
	if err != nil {
		return err
	}
	defer appliance.Close()
	parts, err := controllerParts(options, client, appliance, observed, lost)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, run := range parts {
		group.Go(func() error { return run(ctx) })
	}
	return group.Wait()
}

// controllerParts builds what has to run, so that a mistake in the configuration shows before anything does. Something is
// received from lost whenever the connection to the appliance is.
func controllerParts(options *ControllerOptions, client kubernetes.Interface, appliance *rds.Client, observed *metrics.Metrics, lost <-chan struct{}) ([]func(context.Context) error, error) {
	var (
		nodes   controller.Nodes = attach.RecordNodes{}
		ready                    = func() bool { return true }
		note                     = func(attach.Note) {}
		met                      = func(context.Context, []rds.Disk) {}
		cluster *informers.Cluster
		valve   *guard
		parts   []func(context.Context) error
	)
	if client != nil {
		var err error
		if cluster, err = informers.New(client, csi.DriverName); err != nil {
			return nil, err
		}
		recorder := informers.NewRecorder(cluster, observed.CountEventDropped)
		note = recorder.Record
		if valve, err = newGuard(options.valve, cluster, observed, note); err != nil {
			return nil, err
		}
		nodes, ready, met = attach.NewNodes(csi.DriverName, cluster, valve.Paused), cluster.Synced, valve.begin
		parts = append(parts, cluster.Run, recorder.Run, valve.Run)
	}
	service, err := controller.New(serviceConfig(options), appliance, nodes,
		controller.Observer{Decided: observed.CountDecision, Note: note, Restored: observed.CountRestored})
	if err != nil {
		return nil, err
	}
	if cluster != nil && options.reconcile {
		reconciler, err := newReconciler(options, cluster, service,
			attach.Observer{Done: observed.ObserveReconcile, Note: note, PausedFor: valve.PausedFor})
		if err != nil {
			return nil, err
		}
		auditor, err := newAuditor(options, service, cluster,
			attach.AuditObserver{Count: observed.SetOrphans, Note: note, Paused: valve.Paused})
		if err != nil {
			return nil, err
		}
		run, err := runLeading(options, newLeadersWork(reconciler, auditor), observed)
		if err != nil {
			return nil, err
		}
		parts = append(parts, run, resyncAfter(lost, reconciler))
		valve.resumed = reconciler.Resync
	}
	services := csi.Services{Identity: csi.NewControllerIdentity(version(), ready, serviceConfig(options).Expansion()), Controller: service}
	server, err := csi.NewServer(options.endpoint, services, observed.ObserveCall)
	if err != nil {
		return nil, err
	}
	return append(parts, server.Run,
		func(ctx context.Context) error {
			return contactAppliance(ctx, appliance, options.appliance.ssh.Address, met)
		},
		func(ctx context.Context) error {
			return serveHTTP(ctx, options.httpAddress, observed.Registry(), healthyWhen(ready))
		}), nil
}

func newClient(options *ControllerOptions) (kubernetes.Interface, error) {
	config, err := kubeConfig(options)
	if err != nil {
		return nil, err
	}
	return kubernetes.NewForConfig(config)
}

func kubeConfig(options *ControllerOptions) (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", options.kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("--kubeconfig %q: %w", options.kubeconfig, err)
	}
	// The default of 5 requests a second made another driver take 55 s to look at 20 volumes.
	config.QPS, config.Burst = float32(options.kubeQPS), options.kubeBurst
	config.UserAgent = "rds-csi-controller/" + version()
	return config, nil
}

// defaultClusterID makes the UID of kube-system the cluster's ID, unless one was given: it lives as long as the cluster.
func defaultClusterID(ctx context.Context, client kubernetes.Interface, options *ControllerOptions) error {
	if options.clusterID != "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	namespace, err := client.CoreV1().Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read the UID of namespace kube-system, which is the cluster ID unless --cluster-id gives one: %w", err)
	}
	options.appliance.config.ClusterID = string(namespace.UID)
	return nil
}

func newReconciler(options *ControllerOptions, cluster *informers.Cluster, appliance attach.Appliance, observer attach.Observer) (*attach.Reconciler, error) {
	config := attach.ReconcilerConfig{Resync: options.reconcileEvery, Workers: options.reconcileWorkers, StuckAfter: options.stuckAfter}
	reconciler, err := attach.NewReconciler(config, cluster, appliance, observer)
	if err != nil {
		return nil, err
	}
	cluster.OnAttachments(reconciler.Enqueue)
	return reconciler, nil
}

// resyncAfter has every record read again when the connection to the appliance was lost: it may come back another than it
// went.
func resyncAfter(lost <-chan struct{}, reconciler *attach.Reconciler) func(context.Context) error {
	return func(ctx context.Context) error {
		for {
			select {
			case <-lost:
				reconciler.Resync()
			case <-ctx.Done():
				return nil
			}
		}
	}
}

// runLeading gives the run of what only a leader does, under an election unless the flags say that there is no other
// controller.
func runLeading(options *ControllerOptions, work worker, observed *metrics.Metrics) (func(context.Context) error, error) {
	if !options.election.enabled {
		return func(ctx context.Context) error {
			observed.BeginLeading()
			defer observed.EndLeading()
			return work.Run(ctx)
		}, nil
	}
	config, err := kubeConfig(options)
	if err != nil {
		return nil, err
	}
	election, err := newElection(options.election, config, work, observed)
	if err != nil {
		return nil, err
	}
	return election.Run, nil
}

func serviceConfig(options *ControllerOptions) controller.Config {
	return controller.Config{
		ClusterID:       options.appliance.config.ClusterID,
		Directory:       options.appliance.directory,
		Address:         options.nvmeAddress,
		Port:            options.appliance.config.Port,
		GracePeriod:     options.gracePeriod,
		AllowUnfenced:   options.allowUnfenced,
		ExpandPublished: options.onlineExpansion,
		MaxWaiting:      options.maxWaiting,
	}
}

// contactAppliance asks the appliance's version and lists the disks once, as soon as it can be reached: what is wrong with
// address, user, keys or version is in the log at once and not only at the first volume, and later writes know what the disks looked like. It never
// fails the process: the appliance may be away for hours, and calls that need it say so themselves. met is called with the disks.
func contactAppliance(ctx context.Context, appliance *rds.Client, address string, met func(context.Context, []rds.Disk)) error {
	logger := klog.FromContext(ctx)
	backoff := wait.Backoff{Duration: time.Second, Factor: 2, Jitter: 0.2, Steps: 6, Cap: time.Minute}
	// It ends with success or with ctx, and neither is an error of the process.
	_ = backoff.DelayFunc().Until(ctx, true, true, func(ctx context.Context) (bool, error) {
		version, err := appliance.Probe(ctx)
		var disks []rds.Disk
		if err == nil {
			disks, err = appliance.List(ctx)
		}
		if err != nil {
			logger.Error(err, "The appliance can't be used yet; trying again (see --rds-address, --rds-user, --rds-private-key, --rds-known-hosts, --rds-host-key-fingerprint)", "address", address)
			return false, nil
		}
		logger.Info("Met the appliance", "address", address, "version", version.Text, "disks", len(disks))
		met(ctx, disks)
		return true, nil
	})
	return nil
}

func healthyWhen(ready func() bool) func() error {
	return func() error {
		if !ready() {
			return errors.New("the caches of nodes and attachments are not filled yet")
		}
		return nil
	}
}
