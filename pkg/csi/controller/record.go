package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

// RecordOf returns a disk's record as package attach has it. It returns attach.ErrUnknown if a holder can't be parsed.
func RecordOf(disk rds.Disk) (attach.Record, error) {
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

// Record reads the appliance's record of a volume. Found is false without an error if the volume is proven absent, or
// if the handle is none of this driver.
func (c *Service) Record(ctx context.Context, handle string) attach.Answer[attach.Record] {
	id, err := rds.ParseVolumeID(handle)
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
	record, err := RecordOf(disk)
	return attach.Answer[attach.Record]{Value: record, Found: err == nil, Err: err}
}

// SeenRecord returns the record as this process saw it last, without I/O. It returns false if there is none. The record
// may be old, so nothing may be decided on it.
func (c *Service) SeenRecord(handle string) (attach.Record, bool) {
	id, err := rds.ParseVolumeID(handle)
	if err != nil {
		return attach.Record{}, false
	}
	disk, found := c.appliance.LastSeen(id)
	if !found {
		return attach.Record{}, false
	}
	record, err := RecordOf(disk)
	return record, err == nil
}

// Refresh reads every record in one exec, so that SeenRecord is up to date for a moment. It restores each volume whose
// record went back in time: its export may admit a node that was fenced. That can't wait until the appliance has
// booted. So Refresh restores what the list has, even if the list is incomplete and it returns an error because of
// that. Every superseded export goes away before Kubernetes is asked about any volume.
func (c *Service) Refresh(ctx context.Context) error {
	disks, err := c.appliance.List(ctx)
	disks = slices.DeleteFunc(disks, func(disk rds.Disk) bool { return !disk.WentBack(c.granted(disk.ID)) })
	failed := []error{err}
	for _, disk := range disks {
		failed = append(failed, c.whileLocked(disk.ID, func(rds.VolumeID) error {
			_, err := c.withdrawSuperseded(ctx, disk)
			return err
		}))
	}
	for _, disk := range disks {
		failed = append(failed, c.whileLocked(disk.ID, func(id rds.VolumeID) error { return c.restoreLost(ctx, id) }))
	}
	return errors.Join(failed...)
}
