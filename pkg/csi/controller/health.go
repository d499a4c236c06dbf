package controller

import (
	"context"
	"fmt"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

// The reasons that the controller's health RPCs give. They are read by machines: never change one.
const (
	reasonPoolAway     = "PoolNotMounted"
	reasonPoolState    = "PoolNotClean"
	reasonDisk         = "DiskNotWell"
	reasonExportDiffer = "ExportDiffers"
)

// stateClean is the only word of RouterOS for a state that is known to be good.
const stateClean = "clean"

// ControllerGetVolumeHealth tells what the appliance finds wrong with a volume.
func (c *Service) ControllerGetVolumeHealth(ctx context.Context, request *csi.ControllerGetVolumeHealthRequest) (*csi.ControllerGetVolumeHealthResponse, error) {
	id, err := existingVolume(request)
	if err != nil {
		return nil, err
	}
	healths, err := c.appliance.Health(ctx)
	if err != nil {
		return nil, err
	}
	for _, health := range healths {
		if health.Disk.ID == id {
			return &csi.ControllerGetVolumeHealthResponse{VolumeHealth: healthOf(health)}, nil
		}
	}
	// Whether it doesn't exist, or can't be told now, is for a look at this one alone to say.
	if _, err := c.appliance.Get(ctx, id); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("volume %s: %w: it was made just now", id, rds.ErrNotReady)
}

// ControllerListVolumeHealth lists the volumes that something is wrong with, in pages as ListVolumes does.
func (c *Service) ControllerListVolumeHealth(ctx context.Context, request *csi.ControllerListVolumeHealthRequest) (*csi.ControllerListVolumeHealthResponse, error) {
	if err := checkPage(request); err != nil {
		return nil, err
	}
	healths, err := c.appliance.Health(ctx)
	if err != nil {
		return nil, err
	}
	var unwell []*csi.VolumeHealth
	for _, health := range healths {
		if entry := healthOf(health); len(entry.GetHealthStatuses()) > 0 {
			unwell = append(unwell, entry)
		}
	}
	entries, next := page(unwell, (*csi.VolumeHealth).GetVolumeId, request)
	return &csi.ControllerListVolumeHealthResponse{Entries: entries, NextToken: next}, nil
}

// healthOf judges what the appliance says. Words of RouterOS that aren't known to be good are passed on as they are.
func healthOf(health rds.Health) *csi.VolumeHealth {
	disk := health.Disk
	result := &csi.VolumeHealth{VolumeId: disk.ID.String()}
	add := func(status csi.VolumeHealthErrorType, reason, format string, words ...any) {
		result.HealthStatuses = append(result.HealthStatuses, &csi.VolumeHealth_VolumeHealthEntry{
			Status: status, Reason: reason, Message: fmt.Sprintf(format, words...),
		})
	}
	switch {
	case !health.PoolMounted:
		add(csi.VolumeHealthErrorType_INACCESSIBLE, reasonPoolAway, "The appliance has no filesystem mounted at %q; see /disk print there.", disk.ID.Pool())
	case health.PoolState != "" && health.PoolState != stateClean:
		add(csi.VolumeHealthErrorType_DEGRADED, reasonPoolState, "Pool %s is %q; see /disk print on the appliance.", disk.ID.Pool(), health.PoolState)
	}
	switch {
	case health.PoolMounted && health.Empty:
		add(csi.VolumeHealthErrorType_DEGRADED, reasonDisk, "The appliance shows disk %s as empty; look whether its backing file is there. %s", disk.ID.Slot(), health.About)
	case health.About != "":
		add(csi.VolumeHealthErrorType_DEGRADED, reasonDisk, "The appliance says about disk %s: %s", disk.ID.Slot(), health.About)
	case health.State != "" && health.State != stateClean:
		add(csi.VolumeHealthErrorType_DEGRADED, reasonDisk, "Disk %s is %q; see /disk print on the appliance.", disk.ID.Slot(), health.State)
	}
	if disk.Record.Held() && !disk.Admits() {
		add(csi.VolumeHealthErrorType_INACCESSIBLE, reasonExportDiffer,
			"Disk %s should be exported to its holders as %s and is not; the next publish, or the next resync, mends it.", disk.ID.Slot(), disk.Record.SubsystemNQN(disk.ID))
	}
	return result
}
