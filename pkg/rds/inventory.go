package rds

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Inventory says what is in one directory of a pool: which disks and backing files belong together, and what doesn't
// pair. It is for people to read; nothing is removed on its word.
type Inventory struct {
	// Disks are this driver's disks, of any cluster, with their backing file in place.
	Disks []Disk
	// WithoutFile are this driver's disks whose backing file isn't there.
	WithoutFile []Disk
	// WithoutDisk are files that no disk refers to, as /file names them.
	WithoutDisk []string
	// Foreign are the slots of disks that have their file in the directory but aren't provably of this driver.
	Foreign []string
}

// Inventory reads the directory below a pool. Errors: those of Capacity.
func (c *Client) Inventory(ctx context.Context, pool, directory string) (Inventory, error) {
	if _, err := NewVolumeID(pool, directory, "name"); err != nil {
		return Inventory{}, err
	}
	folder := pool + "/" + directory
	cmd := newCommand(KindInventory)
	cmd.show(markerPools, "/disk", poolProperties, "mount-point="+cmd.quoted(pool))
	cmd.show(markerDisks, "/disk", diskProperties, "type=file")
	cmd.showUptime()
	answer, err := c.run(ctx, cmd)
	if err != nil {
		return Inventory{}, fmt.Errorf("take the inventory of %s: %w", folder, asUnreachable(err))
	}
	if err := (state{id: VolumeID{directory: folder}, reply: answer, boot: c.config.BootWindow}).absenceProven(); err != nil {
		return Inventory{}, fmt.Errorf("take the inventory of %s: %w", folder, err)
	}
	files, err := c.filesIn(ctx, folder)
	if err != nil {
		return Inventory{}, fmt.Errorf("take the inventory of %s: %w", folder, err)
	}
	return pair(folder, answer.disks, files), nil
}

// pair compares paths in one spelling only: compared raw, every file of a live disk once looked like nobody's.
func pair(folder string, items []diskItem, files []filePath) Inventory {
	var inventory Inventory
	referred := map[filePath]bool{}
	for _, item := range items {
		file := newFilePath(item.FilePath)
		referred[file] = true
		if path.Dir(string(file)) != folder {
			continue
		}
		disk, err := item.anyCluster()
		switch {
		case err != nil:
			inventory.Foreign = append(inventory.Foreign, item.Slot)
		case slices.Contains(files, file):
			inventory.Disks = append(inventory.Disks, disk)
		default:
			inventory.WithoutFile = append(inventory.WithoutFile, disk)
		}
	}
	for _, file := range files {
		if !referred[file] && strings.HasPrefix(string(file), folder+"/") {
			inventory.WithoutDisk = append(inventory.WithoutDisk, string(file))
		}
	}
	return inventory
}
