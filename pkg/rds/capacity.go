package rds

import (
	"context"
	"fmt"
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
	// State is RouterOS's word for the pool's health, such as "clean"; empty where it gives none. Of several pools it is one's.
	State string
}

// Available is how much can be given to new volumes, in bytes, 0 or more: what is free or what isn't promised, the worse.
func (c Capacity) Available() int64 { return max(0, min(c.Free, c.Size-c.Promised)) }

// Capacity reads a pool; an empty name stands for all that are mounted. Errors: ErrNoPool if the appliance, past its boot window, has nothing mounted there,
// ErrNotReady before that, *FieldError, ErrUnreachable, or a *CommandError.
func (c *Client) Capacity(ctx context.Context, pool string) (Capacity, error) {
	cmd := newCommand(KindCapacity)
	condition := "mounted=yes"
	if pool != "" {
		if !validElement(pool) {
			return Capacity{}, &FieldError{Field: "pool", Value: pool, Want: wantElement}
		}
		condition = "mount-point=" + cmd.quoted(pool)
	}
	cmd.show(markerPools, "/disk", poolProperties, condition)
	cmd.show(markerDisks, "/disk", "slot,type,file-path,file-size", "type=file")
	cmd.showUptime()
	answer, err := c.run(ctx, cmd)
	if err != nil {
		return Capacity{}, fmt.Errorf("read pool %s: %w", pool, asUnreachable(err))
	}
	capacity, mounted := Capacity{}, false
	for _, item := range answer.pools {
		if item.Mounted && (pool == "" || item.MountPoint == pool) {
			capacity.add(item, answer.disks)
			mounted = true
		}
	}
	switch {
	case !mounted && answer.uptime < c.config.BootWindow:
		return Capacity{}, fmt.Errorf("read pool %s: %w: the appliance has been up for %s only", pool, ErrNotReady, answer.uptime)
	case !mounted && pool != "":
		return Capacity{}, fmt.Errorf("read pool %s: %w: the appliance has nothing mounted there", pool, ErrNoPool)
	}
	return capacity, nil
}

// add counts a pool in.
func (c *Capacity) add(pool poolItem, disks []diskItem) {
	c.Size, c.Free, c.State = c.Size+int64(pool.Size), c.Free+int64(pool.Free), pool.State
	for _, disk := range disks {
		if newFilePath(disk.FilePath).pool() == pool.MountPoint {
			c.Promised += int64(disk.FileSize)
		}
	}
}
