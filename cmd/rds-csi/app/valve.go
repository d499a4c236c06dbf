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
	// resumed is called after begin and whenever the valve opens, so that what waits is checked at once. It must neither
	// block nor call the valve.
	resumed func()
}

// newMassDeletionValve returns a valve that is told of the cluster's nodes. note is called once for each trip; it must
// not block.
func newMassDeletionValve(config attach.ValveConfig, cluster *informers.Cluster, observed *metrics.Metrics, note func(attach.Note)) (*massDeletionValve, error) {
	v := &massDeletionValve{cluster: cluster, tripped: make(chan struct{}, 1), resumed: func() {}}
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
	v.resumed()
}

// Run logs each pause until ctx ends. It also asks the valve when the pause is due to end: the valve has no goroutine,
// so it only opens when it is asked.
func (v *massDeletionValve) Run(ctx context.Context) error {
	logger := klog.FromContext(ctx)
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
