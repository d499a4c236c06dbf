package rds

import (
	"context"
	"fmt"

	"k8s.io/klog/v2"
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
	// Available is how much new volumes can use, in bytes, 0 or more. On each pool it is what is free or what isn't promised,
	// whichever is less. Largest is the most of it that is on one pool: a volume can't be larger.
	Available, Largest int64
	// State is RouterOS's word for the pool's health, such as "clean"; empty where there is none. Of several pools it is one's.
	State string
}

// Capacity reads a pool; an empty name stands for all that are mounted. Errors: ErrNoPool if the appliance, past its boot
// window, has nothing mounted there; ErrNotReady before that; *FieldError, ErrUnreadable,
// ErrUnreachable, or a *CommandError.
func (c *Client) Capacity(ctx context.Context, pool string) (Capacity, error) {
	if pool != "" && !validElement(pool) {
		return Capacity{}, &FieldError{Field: "pool", Value: pool, Want: wantElement}
	}
	answer, err := c.list(ctx, listDisks(KindCapacity, "slot,file-path,file-size,size", "").everybodys().with(func(cmd *command) {
		if pool == "" {
			cmd.showPools()
			return
		}
		cmd.show(markerPools, "/disk", poolProperties, "mount-point="+cmd.quoted(pool))
	}))
	if err != nil {
		return Capacity{}, fmt.Errorf("read pool %s: %w", pool, asUnreachable(err))
	}
	promised := promisedOn(ctx, answer.disks)
	capacity, mounted := Capacity{}, false
	for _, item := range answer.pools {
		switch {
		case item.odd != nil && pool != "":
			return Capacity{}, fmt.Errorf("read pool %s: %w: %w", pool, ErrUnreadable, item.odd)
		case item.odd != nil:
			klog.FromContext(ctx).Error(item.odd, "Left a pool out of what is available", "pool", item.MountPoint)
		case item.Mounted && (pool == "" || item.MountPoint == pool):
			capacity.add(item, promised[item.MountPoint])
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

// add adds a pool.
func (c *Capacity) add(pool poolItem, promised int64) {
	size, free := int64(pool.Size), int64(pool.Free)
	available := max(0, min(free, size-promised))
	c.Size, c.Free, c.Promised, c.State = c.Size+size, c.Free+free, c.Promised+promised, pool.State
	c.Available, c.Largest = c.Available+available, max(c.Largest, available)
}

// promisedOn returns the sum of the sizes for each pool, by mount point. A disk's file may be larger than the disk.
func promisedOn(ctx context.Context, disks []diskItem) map[string]int64 {
	promised := map[string]int64{}
	for _, disk := range disks {
		var size number
		if err := size.UnmarshalJSON(disk.FileSize); err != nil {
			if size = disk.Size; size == 0 {
				klog.FromContext(ctx).Error(err, "Left a disk out of what is promised", "slot", disk.Slot)
			}
		}
		promised[newFilePath(disk.FilePath).pool()] += int64(size)
	}
	return promised
}
