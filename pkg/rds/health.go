package rds

import (
	"context"
	"fmt"
)

// Health is what the appliance says of a disk and of the pool that it is on.
type Health struct {
	Disk Disk
	// PoolMounted tells whether the pool is there at all, and PoolState is RouterOS's word for it, such as "clean"; empty
	// where it gives none.
	PoolMounted bool
	PoolState   string
	// About is what RouterOS finds wrong with the disk, and State its word for the disk's own health; empty if nothing.
	About, State string
	// Empty tells that the disk has nothing to keep data in, such as a backing file that is gone.
	Empty bool
}

// Health reads the health of all disks of this cluster, in one exec. Errors as for List.
func (c *Client) Health(ctx context.Context) ([]Health, error) {
	cmd := newCommand(KindHealth)
	cmd.show(markerDisks, "/disk", diskProperties+",about,state,empty", `type=file and comment~`+cmd.quoted(recordVersion+" cluster="+c.config.ClusterID+" "))
	cmd.show(markerPools, "/disk", poolProperties, "mounted=yes")
	cmd.showUptime()
	answer, err := c.run(ctx, cmd)
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
			continue // List tells of it
		}
		health := Health{Disk: c.remember(disk), About: item.About, State: item.State, Empty: item.Empty}
		for _, pool := range answer.pools {
			if pool.Mounted && pool.MountPoint == disk.ID.Pool() {
				health.PoolMounted, health.PoolState = true, pool.State
			}
		}
		healths = append(healths, health)
	}
	return healths, nil
}
