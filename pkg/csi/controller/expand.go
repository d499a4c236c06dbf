package controller

import (
	"context"
	"fmt"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"k8s.io/klog/v2"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/capability"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

// ControllerExpandVolume grows the backing file; it never shrinks. A volume that has a holder is refused unless
// ExpandPublished is set: the appliance may not show the new size to connected nodes.
func (c *Service) ControllerExpandVolume(ctx context.Context, request *csi.ControllerExpandVolumeRequest) (*csi.ControllerExpandVolumeResponse, error) {
	id, err := parseExpand(request)
	if err != nil {
		return nil, err
	}
	size, err := sizeOf(request.GetCapacityRange(), minimumSize)
	if err != nil {
		return nil, err
	}
	if request.GetCapacityRange().GetRequiredBytes() == 0 {
		size = 0 // with a limit only, the present size is enough
	}
	unlock, err := c.locks.Lock(id)
	if err != nil {
		return nil, err
	}
	defer unlock()
	disk, err := c.change(ctx, id, never, func(seen rds.Disk) (rds.Disk, error) { return c.expand(ctx, seen, size) })
	if err != nil {
		return nil, err
	}
	if limit := request.GetCapacityRange().GetLimitBytes(); limit > 0 && disk.Size > limit {
		return nil, fmt.Errorf("volume %s: %w: it has %d bytes, more than the limit of %d", id, failure.ErrOutOfRange, disk.Size, limit)
	}
	// A node that has the volume must read its size again. A node that gets it later reads the new size anyway. Either way
	// a filesystem must be grown by the node.
	block := request.GetVolumeCapability().GetBlock() != nil
	return &csi.ControllerExpandVolumeResponse{CapacityBytes: disk.Size, NodeExpansionRequired: !block || disk.Record.Held()}, nil
}

func parseExpand(request *csi.ControllerExpandVolumeRequest) (rds.VolumeID, error) {
	if request.GetCapacityRange() == nil {
		return rds.VolumeID{}, &failure.InvalidError{Field: "capacity_range", Want: "one"}
	}
	if wanted := request.GetVolumeCapability(); wanted != nil {
		if _, err := capability.Parse(wanted); err != nil {
			return rds.VolumeID{}, err
		}
	}
	return parseExisting(request)
}

func (c *Service) expand(ctx context.Context, disk rds.Disk, size int64) (rds.Disk, error) {
	// Writing would raise the generation of a record that went back in time, and so hide that it is old.
	disk, err := c.restoreIfOld(ctx, disk)
	if err != nil {
		return rds.Disk{}, err
	}
	switch {
	case disk.Size >= size:
		return disk, nil
	case disk.Record.Held() && !c.config.ExpandPublished:
		return rds.Disk{}, fmt.Errorf("volume %s: %w: %v has it; stop the pods that use it, and it grows once it is detached (or see --online-expansion)", disk.ID, failure.ErrInService, disk.Record.Holding.Holders)
	}
	grown, err := c.appliance.Expand(ctx, disk, size)
	if err != nil {
		return rds.Disk{}, err
	}
	klog.FromContext(ctx).Info("Expanded volume", "from", disk.Size, "to", grown.Size, "holders", grown.Record.Holding.Holders)
	return grown, nil
}
