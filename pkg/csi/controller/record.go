package controller

import (
	"context"
	"errors"
	"fmt"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

// recordOf gives a disk's record in the words of package attach. A holder that can't be understood can't be judged
// either: the error is attach.ErrUnknown.
func recordOf(disk rds.Disk) (attach.Record, error) {
	holding := disk.Record.Holding
	record := attach.Record{
		Access: holding.Access, Mode: holding.Mode, ReadOnly: holding.ReadOnly,
		SubsystemNQN: disk.Record.SubsystemNQN(disk.ID), Reachable: disk.Record.Held() && disk.Consistent(), Generation: disk.Record.Generation,
	}
	var err error
	if record.Holders, err = parseNodeIDs(holding.Holders); err == nil {
		record.Departed, err = parseNodeIDs(holding.Departed)
	}
	if err != nil {
		return attach.Record{}, fmt.Errorf("volume %s: %w: its record names a holder that can't be understood: %w", disk.ID, attach.ErrUnknown, err)
	}
	return record, nil
}

func parseNodeIDs(texts []string) ([]attach.NodeID, error) {
	var ids []attach.NodeID
	for _, text := range texts {
		id, err := attach.ParseNodeID(text)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// Record reads the appliance's record of a volume. Not found means proven absent, or that the handle can't be ours.
func (c *Service) Record(ctx context.Context, volumeID string) attach.Answer[attach.Record] {
	id, err := rds.ParseVolumeID(volumeID)
	if err != nil {
		return attach.Answer[attach.Record]{}
	}
	disk, err := c.appliance.Get(ctx, id)
	if errors.Is(err, rds.ErrNotFound) {
		return attach.Answer[attach.Record]{}
	}
	if err != nil {
		return attach.Answer[attach.Record]{Err: err}
	}
	record, err := recordOf(disk)
	return attach.Answer[attach.Record]{Value: record, Found: err == nil, Err: err}
}

// SeenRecord gives the record as it was last seen, at no cost. It only helps to choose what to ask.
func (c *Service) SeenRecord(volumeID string) (attach.Record, bool) {
	id, err := rds.ParseVolumeID(volumeID)
	if err != nil {
		return attach.Record{}, false
	}
	disk, found := c.appliance.LastSeen(id)
	if !found {
		return attach.Record{}, false
	}
	record, err := recordOf(disk)
	return record, err == nil
}

// Refresh reads every record in one exec, so that SeenRecord is up to date for a moment. A volume that was granted, or seen by
// this process, at a higher generation is restored: somebody who was shut out may have been let in again by it. That can't wait
// until the appliance lists everything, so what it lists while it boots counts, and the error says that there may be more.
func (c *Service) Refresh(ctx context.Context) error {
	disks, err := c.appliance.List(ctx)
	failed := []error{err}
	for _, disk := range disks {
		if disk.WentBack(c.granted(disk.ID)) {
			failed = append(failed, c.Restore(ctx, disk.ID.String()))
		}
	}
	return errors.Join(failed...)
}
