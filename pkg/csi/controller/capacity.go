package controller

import (
	"context"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
)

// GetCapacity returns the free space for new volumes on the pool that the StorageClass's parameters name; without
// parameters, on all pools together. It returns 0 for capabilities that no volume can have.
func (c *Service) GetCapacity(ctx context.Context, request *csi.GetCapacityRequest) (*csi.GetCapacityResponse, error) {
	if len(request.GetAccessibleTopology().GetSegments()) > 0 {
		return nil, &failure.InvalidError{Field: "accessible_topology", Want: "none: every node reaches the appliance"}
	}
	pool, least := "", leastFor(request.GetVolumeCapabilities())
	if len(request.GetParameters()) > 0 {
		parameters, err := parseParameters(request.GetParameters())
		if err != nil {
			return nil, err
		}
		if err := parameters.checkFilesystem(request.GetVolumeCapabilities()); err != nil {
			return nil, err
		}
		pool, least = parameters.pool, max(least, leastWith(parameters.filesystem))
	}
	if wanted := request.GetVolumeCapabilities(); len(wanted) > 0 && checkCapabilities(wanted) != nil {
		return &csi.GetCapacityResponse{}, nil //nolint:nilerr // "none" is the answer
	}
	capacity, err := c.appliance.Capacity(ctx, pool)
	if err != nil {
		return nil, err
	}
	return &csi.GetCapacityResponse{
		AvailableCapacity: capacity.Available,
		MaximumVolumeSize: wrapperspb.Int64(min(capacity.Largest/sizeStep*sizeStep, maximumSize)),
		MinimumVolumeSize: wrapperspb.Int64(least),
	}, nil
}
