package controller

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"k8s.io/klog/v2"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

// unknownDeparted is the departed host in the restored record of a shared volume. The lost record may have named
// departed hosts, and they are unknown now. So no further node may join before there is a new epoch.
const unknownDeparted = "unknown/unknown"

// Restore restores what the appliance has lost of a volume. A record goes back in time if the power fails before the
// appliance has written it to its flash, or if a backup is restored. Then Restore publishes the volume again to the
// holders to which it was granted last; until then the appliance may admit an older holder. If only the export was
// lost, Restore exports the volume again. Errors are those of rds.Client.Get and Publish, failure.ErrBusy, and
// attach.ErrUnknown.
func (c *Service) Restore(ctx context.Context, handle string) error {
	return c.ifOurs(handle, func(id rds.VolumeID) error { return c.restoreLost(ctx, id) })
}

// restoreLost restores the record or the export of a volume. The caller has locked the volume.
func (c *Service) restoreLost(ctx context.Context, id rds.VolumeID) error {
	disk, err := c.restore(ctx, id)
	if err != nil || !disk.Record.Held() || disk.Consistent() {
		return err
	}
	holding, err := c.grantedHolding(ctx, id)
	if err == nil && holding.Epoch == disk.Record.Holding.Epoch {
		_, err = c.repairExport(ctx, disk)
	}
	return err
}

// restoreIfOld returns the disk as it is, or restored if its record went back in time. The caller has locked the
// volume.
func (c *Service) restoreIfOld(ctx context.Context, disk rds.Disk) (rds.Disk, error) {
	if !disk.WentBack(c.granted(disk.ID)) {
		return disk, nil
	}
	return c.restore(ctx, disk.ID)
}

// restore reads the disk and returns it, restored if its record went back in time. The caller has locked the volume.
func (c *Service) restore(ctx context.Context, id rds.VolumeID) (rds.Disk, error) {
	// Read before the disk is: only then does a lower generation of the disk prove anything.
	granted := c.granted(id)
	disk, err := c.appliance.Get(ctx, id)
	if err != nil || !disk.WentBack(granted) {
		return disk, err
	}
	granted = max(granted, disk.Highest)
	klog.FromContext(ctx).Info("The appliance went back in time; restoring the volume",
		"volume", id, "generation", disk.Record.Generation, "granted", granted, "holders", disk.Record.Holding.Holders)
	c.observer.Note(attach.Note{
		Reason: attach.ApplianceWentBack, Warning: true, Volume: id.String(),
		Message: fmt.Sprintf("The appliance's record of this volume is older (generation %d) than what was granted (%d): it lost what it had written. Access goes back to the last holder; an older one is shut out.", disk.Record.Generation, granted),
	})
	disk, err = c.restoreGranted(ctx, disk, granted)
	if err == nil {
		c.observer.Restored(attach.RestoredWentBack)
	}
	return disk, err
}

// restoreGranted replaces a record that went back in time by one with the holding that was granted last. granted is the
// generation of that holding. The new record has a higher one.
func (c *Service) restoreGranted(ctx context.Context, disk rds.Disk, granted uint64) (rds.Disk, error) {
	disk, err := c.withdrawSuperseded(ctx, disk)
	if err != nil {
		return rds.Disk{}, err
	}
	holding, err := c.grantedHolding(ctx, disk.ID)
	if err != nil {
		return rds.Disk{}, err
	}
	if disk.Consistent() && holding.Epoch == disk.Record.Holding.Epoch && holding.Epoch != "" {
		// The epoch is the same, only its holders may differ. Nodes that are connected stay connected.
		return c.appliance.Publish(ctx, disk, disk.Record.Restore(holding, granted))
	}
	next := disk.Record.Restore(holding, granted)
	if !next.Held() {
		return c.appliance.Unpublish(ctx, disk, next)
	}
	return c.appliance.Publish(ctx, disk, next)
}

// withdrawSuperseded ends the export of a disk whose record went back in time to an epoch that was superseded: it may
// admit a node that was fenced. Nobody is asked before that, since the answer may take for ever. The record stays old,
// so the next request still sees that it went back in time.
//
// An epoch that the newest known grant or generation names isn't superseded. Its holder stays connected, because many
// kernels never come back after a target refused them once. The caller has locked the volume.
func (c *Service) withdrawSuperseded(ctx context.Context, disk rds.Disk) (rds.Disk, error) {
	newest, grant := disk.HighestNQN, c.nodes.Granted(disk.ID.String())
	if grant.Generation > disk.Highest {
		newest = grant.SubsystemNQN
	}
	if !disk.Exported || disk.SubsystemNQN == newest {
		return disk, nil
	}
	klog.FromContext(ctx).Info("Taking away the export of a superseded epoch", "volume", disk.ID, "subsystemNQN", disk.SubsystemNQN, "newest", newest)
	c.fences.begin(disk.ID)
	return c.appliance.Withdraw(ctx, disk)
}

// grantsTimeout bounds the question who was granted a volume, so that one without an answer leaves time for others.
const grantsTimeout = 5 * time.Second

// grantedHolding returns the newest holding among the volume's attachments, as the API server has them now. It returns
// an empty one if the volume is attached to no node, and attach.ErrUnknown if an attachment can't be read.
func (c *Service) grantedHolding(ctx context.Context, id rds.VolumeID) (rds.Holding, error) {
	ctx, cancel := context.WithTimeout(ctx, grantsTimeout)
	defer cancel()
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
		holding.Departed = []string{unknownDeparted}
	}
	return holding, nil
}
