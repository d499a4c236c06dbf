package controller

import (
	"context"
	"fmt"
	"slices"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"k8s.io/klog/v2"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/capability"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

// ControllerExpandVolume grows the backing file; it never shrinks. A volume that has a holder is refused unless
// ExpandPublished is set: the appliance may not show the new size to connected nodes. A holder that is being detached is
// waited for: after an error the sidecar would wait longer, and users would see a warning.
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
	ticket, err := c.queue.join(ctx, id)
	if err != nil {
		return nil, err
	}
	defer ticket.done()
	disk, err := c.retry(ctx, ticket, func() (rds.Disk, error) { return c.tryExpand(ctx, ticket, size) })
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

// tryExpand locks the volume, decides and acts once. It returns errMayEndSoon if another try may succeed soon.
func (c *Service) tryExpand(ctx context.Context, ticket *ticket, size int64) (rds.Disk, error) {
	unlock, err := c.lockQueued(ctx, ticket)
	if err != nil {
		return rds.Disk{}, err
	}
	defer unlock()
	return c.change(ctx, ticket.id, never, func(seen rds.Disk) (rds.Disk, error) { return c.expand(ctx, seen, size) })
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
		return rds.Disk{}, c.inService(ctx, disk)
	}
	grown, err := c.appliance.Expand(ctx, disk, size)
	if err != nil {
		return rds.Disk{}, err
	}
	klog.FromContext(ctx).Info("Expanded volume", "from", disk.Size, "to", grown.Size, "holders", grown.Record.Holding.Holders)
	return grown, nil
}

// inService returns the error for a volume that can't grow since it has holders. It is errMayEndSoon, too, if all of them are
// about to lose it.
func (c *Service) inService(ctx context.Context, disk rds.Disk) error {
	inService := fmt.Errorf("volume %s: %w: %v has it; stop the pods that use it, and it grows once it is detached (or see --online-expansion)", disk.ID, failure.ErrInService, disk.Record.Holding.Holders)
	record, err := RecordOf(disk)
	if err != nil {
		return inService
	}
	stays := func(holder attach.Holder) bool {
		return holder.State != attach.HolderDetaching && holder.State != attach.HolderDetached
	}
	if slices.ContainsFunc(c.nodes.HolderStates(ctx, disk.ID.String(), record.Holders), stays) {
		return inService
	}
	return fmt.Errorf("%w: %w", errMayEndSoon, inService)
}
