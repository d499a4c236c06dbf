package app

import (
	"context"
	"time"

	"k8s.io/klog/v2"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/informers"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/metrics"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

// massDeletionValve is the valve against mass deletion, connected to the cluster, the metrics and the log.
type massDeletionValve struct {
	*attach.Valve
	cluster *informers.Cluster
	tripped chan struct{}
	// begun is closed when the valve begins.
	begun    chan struct{}
	observed *metrics.Controller
	note     func(attach.Note)
	// resumed is called after begin and whenever the valve opens, so that what waits is checked at once. It must neither
	// block nor call the valve.
	resumed func()
}

// newMassDeletionValve returns a valve that is told of the cluster's nodes. note is called once for each trip; it must
// not block.
func newMassDeletionValve(config attach.ValveConfig, cluster *informers.Cluster, observed *metrics.Controller, note func(attach.Note)) (*massDeletionValve, error) {
	v := &massDeletionValve{cluster: cluster, tripped: make(chan struct{}, 1), begun: make(chan struct{}), observed: observed, note: note, resumed: func() {}}
	var err error
	v.Valve, err = attach.NewValve(config, attach.ValveObserver{
		Tripped: func(pause attach.Pause) {
			observed.BeginMassDeletion()
			note(pause.Note())
			select {
			case v.tripped <- struct{}{}:
			default:
			}
		},
		Opened: func() {
			observed.EndMassDeletion()
			v.resumed()
		},
	})
	if err != nil {
		return nil, err
	}
	cluster.OnNodes(v.Valve)
	return v, nil
}

// begin waits until the caches are filled, and then begins with the nodes that attachments and the records of disks
// name. If ctx ends before, it does nothing.
func (v *massDeletionValve) begin(ctx context.Context, disks []rds.Disk) {
	if err := v.cluster.WaitForNodes(ctx); err != nil {
		return
	}
	named := v.cluster.NodesAttached()
	for _, disk := range disks {
		for _, text := range disk.Record.Holding.Holders {
			if holder, err := attach.ParseNodeID(text); err == nil {
				named = append(named, holder.Name)
			}
		}
	}
	v.Begin(named)
	close(v.begun)
	v.resumed()
}

// beginPatience is how long the start may take before somebody is told: the caches are filled, and the appliance is
// reached, within seconds.
const beginPatience = time.Minute

// awaitBegin waits until the valve begins. If that takes long, it says so, again and again, and reports it once: nothing is
// cleared or taken over meanwhile, and no node has vanished.
func (v *massDeletionValve) awaitBegin(ctx context.Context) {
	v.observed.AwaitBegin()
	defer v.observed.Begin()
	for told := false; ; told = true {
		select {
		case <-v.begun:
			return
		case <-ctx.Done():
			return
		case <-time.After(beginPatience):
		}
		const message = "Clearing of attachments and take-over of volumes haven't begun: the controller hasn't seen all nodes, or hasn't reached the appliance yet. Its log says what is in the way."
		klog.FromContext(ctx).Info(message)
		if !told {
			v.note(attach.Note{Reason: attach.ClearingNotBegun, Warning: true, Message: message})
		}
	}
}

// Run logs what keeps the valve from beginning, and each pause, until ctx ends. It also asks the valve when the pause is
// due to end: the valve has no goroutine, so it only opens when it is asked.
func (v *massDeletionValve) Run(ctx context.Context) error {
	logger := klog.FromContext(ctx)
	if v.PausedFor() > 0 {
		v.awaitBegin(ctx)
	}
	for {
		select {
		case <-v.tripped:
		case <-ctx.Done():
			return nil
		}
		for left := v.PausedFor(); left > 0; left = v.PausedFor() {
			logger.Info("Too many nodes vanished at once: clearing and take-over are paused (see --mass-deletion-nodes, -share and -window)", "for", left)
			select {
			case <-time.After(left):
			case <-ctx.Done():
				return nil
			}
		}
		logger.Info("Clearing and take-over are no longer paused")
	}
}
