package app

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"time"

	"k8s.io/client-go/kubernetes"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/informers"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/metrics"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/restart"
)

// podRestarterAgent is what the pod-restarter calls itself in its requests to the API server, and the name of the Lease
// by which several elect the one that restarts pods.
const podRestarterAgent = "rds-csi-pod-restarter"

// podRestarterOptions are the flags of "rds-csi pod-restarter".
type podRestarterOptions struct {
	httpAddress string
	kube        kubeOptions
	election    electionOptions
	restart     restart.Config
}

// AddFlags registers the flags with their defaults.
func (o *podRestarterOptions) AddFlags(flags *flag.FlagSet) {
	flags.StringVar(&o.httpAddress, "http-address", "", "where to serve /metrics, /healthz and /readyz, host:port; default: nowhere")
	o.kube.addFlags(flags)
	flags.BoolVar(&o.restart.Enabled, "restart-pods-on-lost-volumes", false, "delete pods whose volume's device is lost, so that their controllers replace them; false only logs and counts them")
	flags.Float64Var(&o.restart.Share, "max-restart-share", 0.25, "how much of one controller's pods may be restarted at a time; more than 0, at most 1. One pod always may")
	flags.DurationVar(&o.restart.Resync, "restart-reconcile-interval", 5*time.Minute, "how often every workload with a lost volume is looked at, in case an event was lost")
	flags.IntVar(&o.restart.Workers, "restart-reconcile-workers", 4, "workloads that are looked at concurrently")
	o.election.leaseName, o.election.agent = podRestarterAgent, podRestarterAgent
	o.election.addFlags(flags, "let only one of several pod-restarters restart pods; with more than one, false could restart more pods at a time than the share")
}

// Validate checks the flags without any I/O, and returns one error with everything that is wrong.
func (o *podRestarterOptions) Validate() error {
	return errors.Join(o.election.validate(), o.kube.validate(), failures([]check{
		{isListenAddress(o.httpAddress), fmt.Errorf("--http-address %q: want host:port, or nothing", o.httpAddress)},
		{o.restart.Share > 0 && o.restart.Share <= 1, fmt.Errorf("--max-restart-share %g: want more than 0 and at most 1", o.restart.Share)},
		{o.restart.Resync > 0, fmt.Errorf("--restart-reconcile-interval %s: want more than 0", o.restart.Resync)},
		{o.restart.Workers > 0, fmt.Errorf("--restart-reconcile-workers %d: want more than 0", o.restart.Workers)},
	}))
}

// runPodRestarter restarts pods until ctx ends, and then returns nil. It returns an error if the configuration is invalid
// or a part fails. Everything that it started has ended when it returns.
func runPodRestarter(ctx context.Context, options *podRestarterOptions) error {
	client, err := options.kube.client(podRestarterAgent)
	if err != nil {
		return err
	}
	parts, err := podRestarterParts(options, client)
	if err != nil {
		return err
	}
	return runAll(ctx, parts)
}

// podRestarterParts returns the functions that make up the process, to be run concurrently. It starts none of them.
func podRestarterParts(options *podRestarterOptions, client kubernetes.Interface) ([]func(context.Context) error, error) {
	observed := metrics.NewRestarter()
	pods, err := informers.NewPods(client, csi.DriverName)
	if err != nil {
		return nil, err
	}
	recorder := informers.NewPodRecorder(client, observed.CountEventDropped)
	reconciler, err := restart.NewReconciler(options.restart, pods, restart.Observer{
		Done: observed.CountAction, Restarted: observed.CountRestarted, Withheld: observed.CountWithheld, Note: recorder.Record,
	})
	if err != nil {
		return nil, err
	}
	pods.OnWorkloads(reconciler.Enqueue)
	lead, err := runLeading(options.election, options.kube, newStoppable(reconciler.Run), observed)
	if err != nil {
		return nil, err
	}
	return []func(context.Context) error{pods.Run, recorder.Run, lead, func(ctx context.Context) error {
		return serveHTTP(ctx, options.httpAddress, observed, health{ready: filled(pods.Synced)})
	}}, nil
}
