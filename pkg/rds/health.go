package rds

import (
	"context"
	"fmt"

	"k8s.io/klog/v2"
)

// Health is what the appliance says about a disk and about the disk's pool.
type Health struct {
	Disk Disk
	// PoolMounted is true if the pool is mounted. PoolState is RouterOS's word for its health, such as "clean"; empty where
	// there is none.
	PoolMounted bool
	PoolState   string
	// About is what RouterOS finds wrong with the disk, and State its word for the disk's own health; empty if nothing.
	About, State string
	// Empty is true if the disk has no medium, for instance because its backing file is gone.
	Empty bool
}

// Health reads the health of all disks of this cluster. Errors as for List.
func (c *Client) Health(ctx context.Context) ([]Health, error) {
	answer, err := c.list(ctx, listDisks(KindHealth, diskProperties+",about,state,empty", c.config.ClusterID).with((*command).showPools))
	if err != nil {
		return nil, fmt.Errorf("read the disks' health: %w", asUnreachable(err))
	}
	if answer.uptime < c.config.BootWindow {
		return nil, fmt.Errorf("read the disks' health: %w: it has been up for %s only", ErrNotReady, answer.uptime)
	}
	healths := make([]Health, 0, len(answer.disks))
	for _, item := range answer.disks {
		disk, err := item.disk(c.config.ClusterID)
		if err != nil {
			klog.FromContext(ctx).Error(err, "Left a disk out of the health of all", "slot", item.Slot)
			continue
		}
		health := Health{Disk: c.cache(disk), About: item.About, State: item.State, Empty: item.Empty}
		for _, pool := range answer.pools {
			if pool.Mounted && pool.MountPoint == disk.ID.Pool() {
				health.PoolMounted, health.PoolState = true, pool.State
			}
		}
		healths = append(healths, health)
	}
	return healths, nil
}
