package app

import (
	"context"

	"k8s.io/klog/v2"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

// keeper has the appliance keep its NVMe/TCP port open, whatever volumes are exported.
type keeper struct {
	appliance       *rds.Client
	pool, directory string
	// again receives a value when the appliance may have lost the keeper's disk.
	again chan struct{}
}

func newKeeper(options *ControllerOptions, appliance *rds.Client) *keeper {
	return &keeper{appliance: appliance, pool: options.keeperPool, directory: options.appliance.directory, again: make(chan struct{}, 1)}
}

// lookAgain has Run look after the disk once more.
func (k *keeper) lookAgain() {
	select {
	case k.again <- struct{}{}:
	default:
	}
}

// Run makes the keeper's disk, and looks after it whenever lookAgain was called, until ctx ends. It always returns nil:
// volumes work without it.
func (k *keeper) Run(ctx context.Context) error {
	for k.pool != "" && ctx.Err() == nil {
		tryUntilDone(ctx, func(ctx context.Context) (bool, error) {
			err := k.appliance.KeepPortOpen(ctx, k.pool, k.directory)
			if err != nil && ctx.Err() == nil {
				klog.FromContext(ctx).Error(err, "The NVMe/TCP port may close with the last export; trying again (see --keeper-pool)", "pool", k.pool)
			}
			return err == nil, ctx.Err()
		})
		select {
		case <-k.again:
		case <-ctx.Done():
		}
	}
	return nil
}
