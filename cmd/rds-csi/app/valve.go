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

// guard is the valve against mass deletion, with what keeps it informed.
type guard struct {
	*attach.Valve
	cluster *informers.Cluster
	tripped chan struct{}
	// resumed, unless nil, is called when the valve begins, and whenever it opens: what waits must not wait until the time
	// that was foreseen. It must neither block nor call the valve.
	resumed func()
}

// newGuard builds a valve that hears of the cluster's nodes. note is called once a trip; it must not block.
func newGuard(config attach.ValveConfig, cluster *informers.Cluster, observed *metrics.Metrics, note func(attach.Note)) (*guard, error) {
	g := &guard{cluster: cluster, tripped: make(chan struct{}, 1), resumed: func() {}}
	var err error
	g.Valve, err = attach.NewValve(config, attach.ValveObserver{
		Tripped: func(pause attach.Pause) {
			observed.BeginMassDeletion()
			note(pause.Note())
			select {
			case g.tripped <- struct{}{}:
			default:
			}
		},
		Opened: func() {
			observed.EndMassDeletion()
			g.resumed()
		},
	})
	if err != nil {
		return nil, err
	}
	cluster.OnNodes(g.Valve)
	return g, nil
}

// begin tells the valve which nodes something names, once nodes and attachments are known. It returns early if ctx ends.
func (g *guard) begin(ctx context.Context, disks []rds.Disk) {
	if err := g.cluster.WaitForNodes(ctx); err != nil {
		return
	}
	named := g.cluster.NodesAttached()
	for _, disk := range disks {
		for _, text := range disk.Record.Holding.Holders {
			if holder, err := attach.ParseNodeID(text); err == nil {
				named = append(named, holder.Name)
			}
		}
	}
	g.Begin(named)
	g.resumed()
}

// Run logs what the valve does, and asks it again when it is due to open, since it doesn't say so by itself.
func (g *guard) Run(ctx context.Context) error {
	logger := klog.FromContext(ctx)
	for {
		select {
		case <-g.tripped:
		case <-ctx.Done():
			return nil
		}
		for left := g.PausedFor(); left > 0; left = g.PausedFor() {
			logger.Info("Too many nodes vanished at once: clearing and take-over are held (see --mass-deletion-nodes, -share and -window)", "for", left)
			select {
			case <-time.After(left):
			case <-ctx.Done():
				return nil
			}
		}
		logger.Info("Clearing and take-over are no longer held")
	}
}
