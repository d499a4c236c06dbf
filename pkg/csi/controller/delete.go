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

// DeleteVolume removes disk and backing file. A volume that somebody holds is kept, unless every holder is proven gone.
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
		if err = c.releaseGone(ctx, id); err == nil {
			err = c.deleteUnheld(ctx, id)
		}
	}
	if err == nil {
		klog.FromContext(ctx).V(2).Info("Volume is deleted")
	}
	return err
}

// deleteUnheld asks what was granted before the appliance is looked at: only so does a lower generation prove anything.
func (c *Service) deleteUnheld(ctx context.Context, id rds.VolumeID) error {
	return c.appliance.Delete(ctx, id, c.granted(id))
}

// releaseGone takes the volume from its holders if every one of them is proven gone. Who they are, a record that went back
// in time doesn't know, so it is restored first.
func (c *Service) releaseGone(ctx context.Context, id rds.VolumeID) error {
	disk, err := c.restore(ctx, id)
	if err != nil {
		return err
	}
	record, err := recordOf(disk)
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
