package controller

import (
	"context"
	"fmt"

	"k8s.io/klog/v2"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

// Inventory returns what the appliance has, of all clusters.
func (c *Service) Inventory(ctx context.Context) (attach.Inventory, error) {
	survey, err := c.appliance.Survey(ctx, c.config.Directory)
	if err != nil {
		return attach.Inventory{}, err
	}
	return InventoryOf(ctx, survey), nil
}

// InventoryOf returns a survey as package attach has it. It leaves out the holders of a disk if one of them can't be
// parsed. DeleteVolume still refuses such a disk.
func InventoryOf(ctx context.Context, survey rds.Survey) attach.Inventory {
	inventory := attach.Inventory{Pools: survey.Pools, Others: survey.Others, Files: survey.Files}
	for _, disk := range survey.Disks {
		holders, err := parseNodeIDs(disk.Record.Holding.Holders)
		if err != nil {
			klog.FromContext(ctx).Error(err, "A record names a holder that can't be parsed", "volume", disk.ID)
		}
		inventory.Disks = append(inventory.Disks, attach.InventoryDisk{
			Volume: disk.ID.String(), PV: disk.Record.PV, Holders: holders, Token: disk.Record.Token,
		})
	}
	return inventory
}

// RemoveVolume deletes a volume as DeleteVolume does.
func (c *Service) RemoveVolume(ctx context.Context, handle string) error {
	return c.ifOurs(handle, func(id rds.VolumeID) error { return c.remove(ctx, id) })
}

// RevokeAccess unpublishes a volume as ControllerUnpublishVolume does.
func (c *Service) RevokeAccess(ctx context.Context, handle string, node attach.NodeID) error {
	return c.unpublishFrom(ctx, handle, node.String())
}

// AuditScope returns the scope of an audit of the volumes of this driver, which is named driver in Kubernetes.
func AuditScope(driver string) attach.AuditScope {
	return attach.AuditScope{Driver: driver, PoolOf: func(handle string) (string, error) {
		id, err := rds.ParseVolumeID(handle)
		if err == nil && id.Appliance() != "" {
			// What this appliance lacks may be on the other one.
			err = fmt.Errorf("volume %s: %w, %q", handle, rds.ErrOtherAppliance, id.Appliance())
		}
		return id.Pool(), err
	}}
}
