package controller

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"k8s.io/klog/v2"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

// lostDeparted stands in a restored record for hosts that may have departed from its epoch while the appliance still
// remembered it: no further node may join before there is a new epoch.
const lostDeparted = "unknown/unknown"

// Restore gives a volume back to whom it was granted to last, if the appliance went back in time and has forgotten it: a
// power cut before the configuration reached its flash, or a backup that was restored. Until it is, an older holder would
// be let in. And it gives an export back that was lost while the record stayed. Errors: those of rds.Client.Get and
// Publish, and attach.ErrUnknown.
func (c *Service) Restore(ctx context.Context, volumeID string) error {
	return c.ifOurs(volumeID, func(id rds.VolumeID) error {
		disk, err := c.restore(ctx, id)
		if err != nil || !disk.Record.Held() || disk.Consistent() {
			return err
		}
		holding, err := c.grantedHolding(ctx, id)
		if err == nil && holding.Epoch == disk.Record.Holding.Epoch {
			_, err = c.repair(ctx, disk)
		}
		return err
	})
}

// restoreIfOld returns the disk, restored if its record went back in time.
func (c *Service) restoreIfOld(ctx context.Context, disk rds.Disk) (rds.Disk, error) {
	if !disk.WentBack(c.granted(disk.ID)) {
		return disk, nil
	}
	return c.restore(ctx, disk.ID)
}

// restore gives the disk as it is now, after having repaired it if it went back in time. The caller holds the volume's lock.
func (c *Service) restore(ctx context.Context, id rds.VolumeID) (rds.Disk, error) {
	// What was granted is read before the disk is: only so does a lower generation prove anything.
	granted := c.granted(id)
	disk, err := c.appliance.Get(ctx, id)
	if err != nil || !disk.WentBack(granted) {
		return disk, err
	}
	granted = max(granted, disk.Highest)
	klog.FromContext(ctx).Info("The appliance went back in time; taking the volume's export away until it is restored",
		"volume", id, "generation", disk.Record.Generation, "granted", granted, "holders", disk.Record.Holding.Holders)
	c.observer.Note(attach.Note{
		Reason: attach.ApplianceWentBack, Warning: true, Volume: id.String(),
		Message: fmt.Sprintf("The appliance's record of this volume is older (generation %d) than what was granted (%d): it lost what it had written. Access was taken away and goes back to the last holder.", disk.Record.Generation, granted),
	})
	disk, err = c.giveBack(ctx, disk, granted)
	if err == nil {
		c.observer.Restored(attach.RestoredWentBack)
	}
	return disk, err
}

// giveBack replaces the record of a disk that went back in time by one that stands for what was granted last.
func (c *Service) giveBack(ctx context.Context, disk rds.Disk, granted uint64) (rds.Disk, error) {
	holding, unknown := c.grantedHolding(ctx, disk.ID)
	if unknown == nil && disk.Consistent() && holding.Epoch == disk.Record.Holding.Epoch && holding.Epoch != "" {
		// Only who shares the epoch was forgotten, not the epoch: whoever is connected stays.
		return c.appliance.Publish(ctx, disk, disk.Record.Restore(holding, granted))
	}
	// The record stays as it is until it can be replaced in one step, so that whoever comes next still sees what is wrong.
	disk, err := c.appliance.Withdraw(ctx, disk)
	if err != nil {
		return rds.Disk{}, err
	}
	if unknown != nil {
		return rds.Disk{}, unknown
	}
	next := disk.Record.Restore(holding, granted)
	if !next.Held() {
		return c.appliance.Unpublish(ctx, disk, next)
	}
	return c.appliance.Publish(ctx, disk, next)
}

// grantedHolding is the newest holding of the volume that the API server itself vouches for; zero if there is none.
func (c *Service) grantedHolding(ctx context.Context, id rds.VolumeID) (rds.Holding, error) {
	grants, err := c.nodes.Grants(ctx, id.String())
	if err != nil {
		return rds.Holding{}, err
	}
	if len(grants) == 0 {
		return rds.Holding{}, nil
	}
	newest := slices.MaxFunc(grants, func(a, b attach.Grant) int { return cmp.Compare(a.Generation, b.Generation) })
	epoch, ours := id.Epoch(newest.SubsystemNQN)
	if !ours {
		return rds.Holding{}, fmt.Errorf("volume %s: %w: its attachment carries the subsystem NQN %q, which was never issued for it", id, attach.ErrUnknown, newest.SubsystemNQN)
	}
	holding := rds.Holding{Epoch: epoch, Access: newest.Access, Mode: newest.Mode, ReadOnly: newest.ReadOnly}
	for _, grant := range grants {
		if grant.SubsystemNQN == newest.SubsystemNQN {
			holding.Holders = append(holding.Holders, grant.Node.String())
		}
	}
	if attach.Shared(holding.Access, holding.Mode) {
		holding.Departed = []string{lostDeparted}
	}
	return holding, nil
}
