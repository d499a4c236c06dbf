package rds

import (
	"fmt"
	"slices"
	"time"
)

// state is what one exec showed of one volume: its disk, pool, directory and file.
type state struct {
	id      VolumeID
	cluster string
	reply   reply
	boot    time.Duration
}

// disk returns the volume's disk. Errors: ErrNotFound where absence is proven, ErrNotReady where it isn't, ErrElsewhere if
// the disk has another pool or directory, ErrUnreadable, and ErrNotOurs if something else is in the volume's place.
func (s state) disk() (Disk, error) {
	switch items := s.reply.disks; len(items) {
	case 0:
		if err := s.absenceProven(); err != nil {
			return Disk{}, err
		}
		return Disk{}, fmt.Errorf("volume %s: %w", s.id, ErrNotFound)
	case 1:
		disk, err := items[0].disk(s.cluster)
		if err != nil {
			return Disk{}, err
		}
		if disk.ID != s.id {
			// The slot follows from the name alone, so it is the same volume, or one of the same name.
			return Disk{}, fmt.Errorf("volume %s: %w, %s; use that as the volume's ID, or move the backing file and the disk's file-path back", s.id, ErrElsewhere, disk.ID)
		}
		return disk, nil
	default:
		return Disk{}, fmt.Errorf("volume %s: %w: %d disks share its slot or its backing file", s.id, ErrNotOurs, len(items))
	}
}

// absenceProven returns nil if what this state doesn't list doesn't exist. That is so if the pool is mounted and the
// appliance has been up for long enough to have read its configuration.
func (s state) absenceProven() error {
	if s.reply.uptime < s.boot {
		return fmt.Errorf("%w: it has been up for %s only, less than the %s it is given to boot", ErrNotReady, s.reply.uptime, s.boot)
	}
	if !s.poolMounted() {
		if len(s.reply.pools) > 0 {
			return fmt.Errorf("%w: pool %q is there and isn't mounted; see /disk print", ErrNotReady, s.id.Pool())
		}
		return fmt.Errorf("%w: no pool is mounted at %q", ErrNotReady, s.id.Pool())
	}
	return nil
}

func (s state) poolMounted() bool {
	return slices.ContainsFunc(s.reply.pools, func(pool poolItem) bool { return pool.Mounted && pool.MountPoint == s.id.Pool() })
}

// directoryMissing reports whether the directory of the backing file is proven not to exist.
func (s state) directoryMissing() bool {
	return s.absenceProven() == nil && !s.lists(filePath(s.id.directory))
}

// lacks reports whether the pool is known to have less free space than this, in bytes.
func (s state) lacks(size int64) bool {
	return slices.ContainsFunc(s.reply.pools, func(pool poolItem) bool {
		return pool.odd == nil && pool.MountPoint == s.id.Pool() && int64(pool.Free) < size
	})
}

func (s state) poolFree() int64 {
	for _, pool := range s.reply.pools {
		if pool.MountPoint == s.id.Pool() {
			return int64(pool.Free)
		}
	}
	return 0
}

func (s state) fileExists() bool { return s.lists(s.id.file()) }

// lists reports whether a file or directory is among those shown.
func (s state) lists(wanted filePath) bool {
	return slices.ContainsFunc(s.reply.files, func(file fileItem) bool { return newFilePath(file.Name) == wanted })
}
