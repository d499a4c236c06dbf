package csi

import (
	"context"

	"github.com/container-storage-interface/spec/lib/go/csi"
)

// ValidateVolumeCapabilities confirms capabilities that this driver can give to an existing volume.
func (c *Controller) ValidateVolumeCapabilities(ctx context.Context, request *csi.ValidateVolumeCapabilitiesRequest) (*csi.ValidateVolumeCapabilitiesResponse, error) {
	if request.GetVolumeId() == "" {
		return nil, &invalidError{field: "volume_id", want: "one"}
	}
	if len(request.GetVolumeCapabilities()) == 0 {
		return nil, &invalidError{field: "volume_capabilities", want: "at least one"}
	}
	id, err := existingVolume(request.GetVolumeId())
	if err != nil {
		return nil, err
	}
	if _, err := c.appliance.Get(ctx, id); err != nil {
		return nil, err
	}
	if err := checkCapabilities(request.GetVolumeCapabilities()); err != nil {
		// "Not confirmed" is an answer, not an error: the message says why.
		return &csi.ValidateVolumeCapabilitiesResponse{Message: err.Error()}, nil //nolint:nilerr // see above
	}
	return &csi.ValidateVolumeCapabilitiesResponse{Confirmed: &csi.ValidateVolumeCapabilitiesResponse_Confirmed{
		VolumeContext:      request.GetVolumeContext(),
		VolumeCapabilities: request.GetVolumeCapabilities(),
		Parameters:         request.GetParameters(),
	}}, nil
}
