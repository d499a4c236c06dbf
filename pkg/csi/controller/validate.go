package controller

import (
	"context"
	"fmt"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

// ValidateVolumeCapabilities confirms the capabilities that an existing volume supports.
func (c *Service) ValidateVolumeCapabilities(ctx context.Context, request *csi.ValidateVolumeCapabilitiesRequest) (*csi.ValidateVolumeCapabilitiesResponse, error) {
	if len(request.GetVolumeCapabilities()) == 0 {
		return nil, &failure.InvalidError{Field: "volume_capabilities", Want: "at least one"}
	}
	disk, err := c.existingDisk(ctx, request)
	if err != nil {
		return nil, err
	}
	if err := checkSupported(disk, request); err != nil {
		// CSI demands a response that confirms nothing; its message is the reason.
		return &csi.ValidateVolumeCapabilitiesResponse{Message: err.Error()}, nil //nolint:nilerr // see above
	}
	return &csi.ValidateVolumeCapabilitiesResponse{Confirmed: &csi.ValidateVolumeCapabilitiesResponse_Confirmed{
		VolumeContext:      request.GetVolumeContext(),
		VolumeCapabilities: request.GetVolumeCapabilities(),
		Parameters:         request.GetParameters(),
	}}, nil
}

// checkSupported returns nil if the volume supports the request's capabilities, and was made with its parameters and
// volume context.
func checkSupported(disk rds.Disk, request *csi.ValidateVolumeCapabilitiesRequest) error {
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
