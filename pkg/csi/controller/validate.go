package controller

import (
	"context"
	"fmt"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

// ValidateVolumeCapabilities confirms capabilities that this driver can give to an existing volume.
func (c *Service) ValidateVolumeCapabilities(ctx context.Context, request *csi.ValidateVolumeCapabilitiesRequest) (*csi.ValidateVolumeCapabilitiesResponse, error) {
	if len(request.GetVolumeCapabilities()) == 0 {
		return nil, &failure.InvalidError{Field: "volume_capabilities", Want: "at least one"}
	}
	id, err := existingVolume(request)
	if err != nil {
		return nil, err
	}
	disk, err := c.appliance.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	if err := confirm(disk, request); err != nil {
		// "Not confirmed" is an answer, not an error: the message says why.
		return &csi.ValidateVolumeCapabilitiesResponse{Message: err.Error()}, nil //nolint:nilerr // see above
	}
	return &csi.ValidateVolumeCapabilitiesResponse{Confirmed: &csi.ValidateVolumeCapabilitiesResponse_Confirmed{
		VolumeContext:      request.GetVolumeContext(),
		VolumeCapabilities: request.GetVolumeCapabilities(),
		Parameters:         request.GetParameters(),
	}}, nil
}

// confirm returns nil if everything that the request names is true of the volume, or can be had of it.
func confirm(disk rds.Disk, request *csi.ValidateVolumeCapabilitiesRequest) error {
	capabilities := request.GetVolumeCapabilities()
	if err := checkCapabilities(capabilities); err != nil {
		return err
	}
	if least := leastFor(capabilities); disk.Size < least {
		return fmt.Errorf("%w: the volume has %d bytes, and its filesystem takes %d at least", failure.ErrOutOfRange, disk.Size, least)
	}
	if len(request.GetMutableParameters()) > 0 {
		return &failure.InvalidError{Field: "mutable_parameters", Want: "none: nothing of a volume can be changed but its size"}
	}
	if _, err := nvme.ParseOptions(request.GetVolumeContext()); err != nil {
		return fmt.Errorf("volume_context: %w", err)
	}
	if len(request.GetParameters()) == 0 {
		return nil
	}
	parameters, err := parseParameters(request.GetParameters())
	if err != nil {
		return err
	}
	if parameters.pool != disk.ID.Pool() {
		return &failure.InvalidError{Field: "StorageClass parameter " + parameterPool + " " + parameters.pool, Want: disk.ID.Pool() + ", where the volume is"}
	}
	return parameters.checkFilesystem(capabilities)
}
