package csi

import (
	"context"
	"fmt"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"k8s.io/klog/v2"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

// ControllerExpandVolume grows the backing file; nothing ever shrinks. Unless the appliance is known to show the new size to
// nodes that are connected, a published volume is refused.
func (c *Controller) ControllerExpandVolume(ctx context.Context, request *csi.ControllerExpandVolumeRequest) (*csi.ControllerExpandVolumeResponse, error) {
	id, err := parseExpand(request)
	if err != nil {
		return nil, err
	}
	size, err := sizeOf(request.GetCapacityRange(), minimumSize)
	if err != nil {
		return nil, err
	}
	if request.GetCapacityRange().GetRequiredBytes() == 0 {
		size = 0 // only a limit: what is there is enough
	}
	unlock, err := c.locks.lock(id.String())
	if err != nil {
		return nil, err
	}
	defer unlock()
	disk, err := c.appliance.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	err = settle(disk, func(seen rds.Disk) error {
		disk, err = c.expand(ctx, seen, size)
		return err
	})
	if err != nil {
		return nil, err
	}
	if limit := request.GetCapacityRange().GetLimitBytes(); limit > 0 && disk.Size > limit {
		return nil, fmt.Errorf("volume %s: %w: it has %d bytes, more than the limit of %d", id, errOutOfRange, disk.Size, limit)
	}
	// A node that has the volume must look at it again. One that gets it later sees it as it is, and grows what is on it.
	block := request.GetVolumeCapability().GetBlock() != nil
	return &csi.ControllerExpandVolumeResponse{CapacityBytes: disk.Size, NodeExpansionRequired: !block || disk.Record.Held()}, nil
}

func parseExpand(request *csi.ControllerExpandVolumeRequest) (rds.VolumeID, error) {
	if request.GetVolumeId() == "" {
		return rds.VolumeID{}, &invalidError{field: "volume_id", want: "one"}
	}
	if request.GetCapacityRange() == nil {
		return rds.VolumeID{}, &invalidError{field: "capacity_range", want: "one"}
	}
	if capability := request.GetVolumeCapability(); capability != nil {
		if _, err := accessOf(capability); err != nil {
			return rds.VolumeID{}, err
		}
	}
	return existingVolume(request.GetVolumeId())
}

func (c *Controller) expand(ctx context.Context, disk rds.Disk, size int64) (rds.Disk, error) {
	if disk.Rewound(c.nodes.Granted(disk.ID.String())) {
		// A write on top of such a record would raise its generation, and nobody would see any more that it is old.
		var err error
		if disk, err = c.restore(ctx, disk.ID); err != nil {
			return rds.Disk{}, err
		}
	}
	switch {
	case disk.Size >= size:
		return disk, nil
	case disk.Record.Held() && !c.config.ExpandPublished:
		return rds.Disk{}, fmt.Errorf("volume %s: %w: %v has it; stop the pods that use it, and it grows once it is detached (or see --online-expansion)", disk.ID, errInService, disk.Record.Holding.Holders)
	}
	grown, err := c.appliance.Expand(ctx, disk, size)
	if err != nil {
		return rds.Disk{}, err
	}
	klog.FromContext(ctx).Info("Expanded volume", "from", disk.Size, "to", grown.Size, "holders", grown.Record.Holding.Holders)
	return grown, nil
}
