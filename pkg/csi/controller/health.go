package controller

import (
	"context"
	"fmt"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

// The reasons that the controller's health RPCs return. Programs read them, so they must not change.
const (
	reasonPoolAway     = "PoolNotMounted"
	reasonPoolState    = "PoolNotClean"
	reasonDisk         = "DiskNotWell"
	reasonExportDiffer = "ExportDiffers"
)

// stateClean is the only state of RouterOS that is known to be good.
const stateClean = "clean"

// ControllerGetVolumeHealth returns what the appliance reports to be wrong with a volume.
func (c *Service) ControllerGetVolumeHealth(ctx context.Context, request *csi.ControllerGetVolumeHealthRequest) (*csi.ControllerGetVolumeHealthResponse, error) {
	id, err := parseExisting(request)
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
	// The list may be incomplete. Only a look at this one volume proves that it doesn't exist.
	if _, err := c.appliance.Get(ctx, id); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("volume %s: %w: it was made just now", id, rds.ErrNotReady)
}

// ControllerListVolumeHealth returns the volumes with which something is wrong, in pages as ListVolumes does.
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

// healthOf returns what is wrong with a disk. States of RouterOS that aren't known to be good are quoted.
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
		add(csi.VolumeHealthErrorType_DEGRADED, reasonDisk, "The appliance reports about disk %s: %s", disk.ID.Slot(), health.About)
	case health.State != "" && health.State != stateClean:
		add(csi.VolumeHealthErrorType_DEGRADED, reasonDisk, "Disk %s is %q; see /disk print on the appliance.", disk.ID.Slot(), health.State)
	}
	if disk.Record.Held() && !disk.Admits() {
		add(csi.VolumeHealthErrorType_INACCESSIBLE, reasonExportDiffer,
			"Disk %s should be exported to its holders as %s and is not; the next publish, or the next resync, mends it.", disk.ID.Slot(), disk.Record.SubsystemNQN(disk.ID))
	}
	return result
}
