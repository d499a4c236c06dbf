package csi

import (
	"context"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"k8s.io/klog/v2"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

// Surveyor looks at all of an appliance at once; *rds.Client is one.
type Surveyor interface {
	Survey(ctx context.Context, directory string) (rds.Survey, error)
}

// AuditedAppliance is the appliance as attach.Auditor sees it. What it removes goes the way of the RPCs, under their locks
// and conditions.
type AuditedAppliance struct {
	controller *Controller
	surveyor   Surveyor
}

// NewAuditedAppliance looks through surveyor and removes through controller.
func NewAuditedAppliance(controller *Controller, surveyor Surveyor) *AuditedAppliance {
	return &AuditedAppliance{controller: controller, surveyor: surveyor}
}

// Inventory looks at everything at once. Holders that can't be understood can't be judged; they are left out, and the disk
// stays held for DeleteVolume.
func (a *AuditedAppliance) Inventory(ctx context.Context) (attach.Inventory, error) {
	survey, err := a.surveyor.Survey(ctx, a.controller.config.Directory)
	if err != nil {
		return attach.Inventory{}, err
	}
	inventory := attach.Inventory{Pools: survey.Pools, Others: survey.Others, Files: survey.Files}
	for _, disk := range survey.Disks {
		holders, err := parseNodeIDs(disk.Record.Holding.Holders)
		if err != nil {
			klog.FromContext(ctx).Error(err, "The holders in a record can't be understood", "volume", disk.ID.String())
		}
		inventory.Disks = append(inventory.Disks, attach.InventoryDisk{
			Volume: disk.ID.String(), PV: disk.Record.PV, Holders: holders, Token: disk.Record.Token,
		})
	}
	return inventory, nil
}

// RemoveVolume is DeleteVolume.
func (a *AuditedAppliance) RemoveVolume(ctx context.Context, volume string) error {
	_, err := a.controller.DeleteVolume(ctx, &csi.DeleteVolumeRequest{VolumeId: volume})
	return err
}

// ReleaseHolder is ControllerUnpublishVolume.
func (a *AuditedAppliance) ReleaseHolder(ctx context.Context, volume string, node attach.NodeID) error {
	_, err := a.controller.ControllerUnpublishVolume(ctx, &csi.ControllerUnpublishVolumeRequest{VolumeId: volume, NodeId: node.String()})
	return err
}

// AuditScope is the volumes of this driver.
func AuditScope() attach.AuditScope {
	return attach.AuditScope{Driver: DriverName, PoolOf: func(handle string) (string, error) {
		id, err := rds.ParseVolumeID(handle)
		if err != nil {
			return "", err
		}
		return id.Pool(), nil
	}}
}
