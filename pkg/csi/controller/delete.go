package controller

import (
	"context"
	"errors"
	"fmt"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"k8s.io/klog/v2"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

// DeleteVolume removes the disk and the backing file. It returns rds.ErrHeld if the volume has a holder that isn't
// proven gone. A volume that doesn't exist is success.
func (c *Service) DeleteVolume(ctx context.Context, request *csi.DeleteVolumeRequest) (*csi.DeleteVolumeResponse, error) {
	err := c.ifOurs(request.GetVolumeId(), func(id rds.VolumeID) error { return c.remove(ctx, id) })
	if err != nil {
		return nil, err
	}
	return &csi.DeleteVolumeResponse{}, nil
}

func (c *Service) remove(ctx context.Context, id rds.VolumeID) error {
	err := c.deleteUnheld(ctx, id)
	if errors.Is(err, rds.ErrHeld) || errors.Is(err, rds.ErrWentBack) {
		if err = c.unpublishGone(ctx, id); err == nil {
			err = c.deleteUnheld(ctx, id)
		}
	}
	if err == nil {
		klog.FromContext(ctx).V(2).Info("Volume is deleted")
	}
	return err
}

// deleteUnheld deletes a volume that has no holder. It returns rds.ErrHeld if it has one, and rds.ErrWentBack if the
// record went back in time.
func (c *Service) deleteUnheld(ctx context.Context, id rds.VolumeID) error {
	return c.appliance.Delete(ctx, id, c.granted(id))
}

// unpublishGone removes all holders if every one of them is proven gone. A record that went back in time doesn't name
// the present holders, so it is restored first.
func (c *Service) unpublishGone(ctx context.Context, id rds.VolumeID) error {
	disk, err := c.restore(ctx, id)
	if err != nil {
		return err
	}
	record, err := RecordOf(disk)
	if err != nil {
		return err
	}
	for _, holder := range c.nodes.HolderStates(ctx, id.String(), record.Holders) {
		switch holder.State {
		case attach.HolderGone:
		case attach.HolderUnknown:
			return fmt.Errorf("volume %s: %w: whether node %s still holds it could not be found out", id, attach.ErrUnknown, holder.ID.Name)
		default:
			return fmt.Errorf("volume %s: %w by node %s; it is deleted once it is detached there", id, rds.ErrHeld, holder.ID.Name)
		}
	}
	_, err = c.appliance.Unpublish(ctx, disk, disk.Record.Unpublish(""))
	return err
}
