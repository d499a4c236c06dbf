package rds

import (
	"context"
	"fmt"
	"slices"
)

// Capacity is the state of a pool.
type Capacity struct {
	// Size is the pool's size in bytes.
	Size int64
	// Free is what RouterOS reports as free, in bytes.
	Free int64
	// Promised is the sum of the sizes of all file-backed disks on the pool, whoever made them, in bytes. A filesystem
	// that allocates late reports more as free than is left once every disk is written in full.
	Promised int64
	// State is RouterOS's word for the pool's health, such as "clean"; empty where it gives none.
	State string
}

// Available is how much can be given to new volumes, in bytes, 0 or more: what is free or what isn't promised, the worse.
func (c Capacity) Available() int64 { return max(0, min(c.Free, c.Size-c.Promised)) }

// Capacity reads a pool. Errors: ErrNoPool if the appliance, past its boot window, has nothing mounted there,
// ErrNotReady before that, *FieldError, ErrUnreachable, or a *CommandError.
func (c *Client) Capacity(ctx context.Context, pool string) (Capacity, error) {
	if !validElement(pool) {
		return Capacity{}, &FieldError{Field: "pool", Value: pool, Want: wantElement}
	}
	cmd := newCommand(KindCapacity)
	cmd.show(markerPools, "/disk", poolProperties, "mount-point="+cmd.quoted(pool))
	cmd.show(markerDisks, "/disk", "slot,type,file-path,file-size", "type=file")
	cmd.showUptime()
	answer, err := c.run(ctx, cmd)
	if err != nil {
		return Capacity{}, fmt.Errorf("read pool %s: %w", pool, asUnreachable(err))
	}
	i := slices.IndexFunc(answer.pools, func(item poolItem) bool { return item.Mounted && item.MountPoint == pool })
	switch {
	case i < 0 && answer.uptime < c.config.BootWindow:
		return Capacity{}, fmt.Errorf("read pool %s: %w: the appliance has been up for %s only", pool, ErrNotReady, answer.uptime)
	case i < 0:
		return Capacity{}, fmt.Errorf("read pool %s: %w: the appliance has nothing mounted there", pool, ErrNoPool)
	}
	capacity := Capacity{Size: int64(answer.pools[i].Size), Free: int64(answer.pools[i].Free), State: answer.pools[i].State}
	for _, disk := range answer.disks {
		if newFilePath(disk.FilePath).pool() == pool {
			capacity.Promised += int64(disk.FileSize)
		}
	}
	return capacity, nil
}
