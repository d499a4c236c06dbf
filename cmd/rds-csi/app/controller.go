package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/controller"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/informers"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/metrics"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

// controllerAgent is what the controller calls itself in its requests to the API server.
const controllerAgent = "rds-csi-controller"

// startTimeout bounds the one request to the API server that must succeed before CSI can be served.
const startTimeout = 30 * time.Second

// RunController serves the controller service and clears stale attachments until ctx ends, and then returns nil. It
// returns an error if the configuration is invalid or a part fails. Everything that it started has ended when it
// returns.
func RunController(ctx context.Context, options *ControllerOptions) error {
	options.appliance.config.ClusterID = options.clusterID
	var client kubernetes.Interface
	if options.kubernetes {
		var err error
		if client, err = options.kube.client(controllerAgent); err != nil {
			return orWithoutKubernetes(err)
		}
		if err := defaultClusterID(ctx, client, &options.appliance.config.ClusterID); err != nil {
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
	return runAll(ctx, parts)
}

// controllerParts returns the functions that make up the controller process, to be run concurrently. It starts none of
// them, so an invalid configuration is found before anything runs. lost receives a value after the connection to the
// appliance was lost.
func controllerParts(options *ControllerOptions, client kubernetes.Interface, appliance *rds.Client, observed *metrics.Controller, lost <-chan struct{}) ([]func(context.Context) error, error) {
	var (
		nodes     controller.Nodes = attach.RecordNodes{}
		ready                      = func() bool { return true }
		note                       = func(attach.Note) {}
		contacted                  = func(context.Context, []rds.Disk) {}
		cluster   *informers.Cluster
		valve     *massDeletionValve
		parts     []func(context.Context) error
		keep      = newKeeper(options, appliance)
		losses    = []func(){keep.lookAgain}
	)
	if client != nil {
		var err error
		if cluster, err = informers.New(client, csi.DriverName); err != nil {
			return nil, err
		}
		recorder := informers.NewRecorder(cluster, observed.CountEventDropped, options.pod.reference()...)
		note = recorder.Record
		if valve, err = newMassDeletionValve(options.valve, cluster, observed, note); err != nil {
			return nil, err
		}
		nodes, ready, contacted = attach.NewNodes(csi.DriverName, cluster, valve.Paused), cluster.Synced, valve.begin
		parts = append(parts, cluster.Run, recorder.Run, valve.Run)
	}
	service, err := controller.New(serviceConfig(options), appliance, nodes,
		controller.Observer{Decided: observed.CountDecision, HandedOff: observed.CountHandOff, Note: note, Restored: observed.CountRestored})
	if err != nil {
		return nil, err
	}
	if cluster != nil && options.reconcile {
		reconciler, err := newReconciler(options, cluster, service,
			attach.Observer{
				Done: observed.ObserveReconcile, Note: note, PausedFor: valve.PausedFor,
				Unfinished: observed.SetUnfinished, Phase: observed.ObservePhase,
			})
		if err != nil {
			return nil, err
		}
		auditor, err := newAuditor(options, service, cluster,
			attach.AuditObserver{Count: observed.SetOrphans, Note: note, Paused: valve.Paused})
		if err != nil {
			return nil, err
		}
		run, err := runLeading(options.election, options.kube, newLeaderTasks(reconciler, auditor), observed)
		if err != nil {
			return nil, err
		}
		parts = append(parts, run)
		losses = append(losses, reconciler.Resync)
		valve.resumed = reconciler.Resync
	}
	services := csi.Services{Identity: csi.NewControllerIdentity(version(), ready, serviceConfig(options).Expansion()), Controller: service}
	server, err := csi.NewServer(options.endpoint, services, observed.ObserveCall)
	if err != nil {
		return nil, err
	}
	first := newContact(options, appliance, contacted, note)
	return append(parts, server.Run, keep.Run, callAfter(lost, losses),
		first.Run,
		func(ctx context.Context) error {
			return serveHTTP(ctx, options.httpAddress, observed, health{alive: server.Healthy, ready: both(filled(ready), first.ready)})
		}), nil
}

// defaultClusterID sets the cluster ID to the UID of kube-system, unless it is set. That namespace lives as long
// as the cluster.
func defaultClusterID(ctx context.Context, client kubernetes.Interface, id *string) error {
	if *id != "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	namespace, err := client.CoreV1().Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read the UID of namespace kube-system, which is the cluster ID unless --cluster-id gives one: %w", err)
	}
	*id = string(namespace.UID)
	return nil
}

// newReconciler returns the reconciler that the flags configure, and has the cluster's events enqueued in it.
func newReconciler(options *ControllerOptions, cluster *informers.Cluster, appliance attach.Appliance, observer attach.Observer) (*attach.Reconciler, error) {
	config := attach.ReconcilerConfig{Resync: options.reconcileEvery, Workers: options.reconcileWorkers, StuckAfter: options.stuckAfter}
	reconciler, err := attach.NewReconciler(config, cluster, appliance, observer)
	if err != nil {
		return nil, err
	}
	cluster.OnAttachments(reconciler.Enqueue)
	cluster.OnNodes(reconciler)
	return reconciler, nil
}

// callAfter returns a function that makes the calls each time after the connection to the appliance was lost: it may have
// gone back in time.
func callAfter(lost <-chan struct{}, calls []func()) func(context.Context) error {
	return func(ctx context.Context) error {
		for {
			select {
			case <-lost:
				for _, call := range calls {
					call()
				}
			case <-ctx.Done():
				return nil
			}
		}
	}
}

// orWithoutKubernetes says in the error that no kubeconfig is needed where there is no Kubernetes.
func orWithoutKubernetes(err error) error {
	if errors.Is(err, errNoKubeconfig) {
		return fmt.Errorf("%w, or --kubernetes=false where there is no Kubernetes", err)
	}
	return err
}

func serviceConfig(options *ControllerOptions) controller.Config {
	return controller.Config{
		ClusterID:       options.appliance.config.ClusterID,
		Directory:       options.appliance.directory,
		Address:         options.target.address,
		Port:            options.appliance.config.Port,
		GracePeriod:     options.gracePeriod,
		FenceDelay:      options.fenceDelay,
		AllowUnfenced:   options.allowUnfenced,
		ExpandPublished: options.onlineExpansion,
		MaxWaiting:      options.maxWaiting,
	}
}

// filled returns a check that fails while the caches aren't filled.
func filled(ready func() bool) func() error {
	return func() error {
		if !ready() {
			return errors.New("the caches are not filled yet: can the API server be reached?")
		}
		return nil
	}
}

// both returns a check that makes two.
func both(first, second func() error) func() error {
	return func() error { return cmp.Or(first(), second()) }
}
