package controller

import (
	"context"
	"errors"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

// changeAttempts bounds how often a request is decided anew because the disk was written to meanwhile.
const changeAttempts = 4

// change calls once, which decides on the disk as it was seen and writes the decision. If the disk was written to
// meanwhile, the write misses its condition, and once is called again with the disk as it is now.
//
// The first call gets the disk as this process saw it last, if there is one that mayBeOld accepts. That saves an exec,
// and is safe because the write is conditional. Otherwise it gets the disk as the appliance shows it now. The caller
// has locked the volume.
func (c *Service) change(
	ctx context.Context, id rds.VolumeID, mayBeOld func(rds.Disk) bool, once func(rds.Disk) (rds.Disk, error),
) (disk rds.Disk, err error) {
	seen, found := c.appliance.LastSeen(id)
	if !found || !mayBeOld(seen) {
		if seen, err = c.appliance.Get(ctx, id); err != nil {
			return rds.Disk{}, err
		}
	}
	for range changeAttempts {
		disk, err = once(seen)
		changed, is := errors.AsType[*rds.ChangedError](err)
		if !is {
			break
		}
		seen = changed.Now
	}
	return disk, err
}

func always(rds.Disk) bool { return true }

func never(rds.Disk) bool { return false }

func ifUnheld(disk rds.Disk) bool { return !disk.Record.Held() }
