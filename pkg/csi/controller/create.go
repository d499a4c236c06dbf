package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"k8s.io/klog/v2"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/capability"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

// maxNameLength is the longest volume name, in bytes, as CSI bounds it.
const maxNameLength = 128

// CreateVolume makes a disk that has no holder and isn't exported. The same name always stands for the same disk.
func (c *Service) CreateVolume(ctx context.Context, request *csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error) {
	wanted, err := c.parseCreate(request)
	if err != nil {
		return nil, err
	}
	unlock, err := c.locks.Lock(wanted.id)
	if err != nil {
		return nil, err
	}
	defer unlock()
	disk, err := c.appliance.Create(ctx, wanted.id, rds.Size{Bytes: wanted.size, Limit: request.GetCapacityRange().GetLimitBytes()}, wanted.record)
	if errors.Is(err, rds.ErrElsewhere) {
		return nil, fmt.Errorf("%w: %w", failure.ErrNameTaken, err)
	}
	if err != nil {
		return nil, err
	}
	if !sizeMatches(disk.Size, request.GetCapacityRange()) {
		return nil, fmt.Errorf("volume %s: %w: it has %d bytes", disk.ID, rds.ErrExists, disk.Size)
	}
	klog.FromContext(ctx).V(2).Info("Volume exists", "volume", disk.ID, "name", request.GetName(), "bytes", disk.Size)
	return &csi.CreateVolumeResponse{Volume: &csi.Volume{VolumeId: disk.ID.String(), CapacityBytes: disk.Size, VolumeContext: wanted.options}}, nil
}

// newVolume is what a CreateVolume request asks for.
type newVolume struct {
	id     rds.VolumeID
	size   int64
	record rds.Record
	// options become the volume context, which nodes get with each request.
	options map[string]string
}

func (c *Service) parseCreate(request *csi.CreateVolumeRequest) (newVolume, error) {
	if err := checkCreate(request); err != nil {
		return newVolume{}, err
	}
	if err := checkCapabilities(request.GetVolumeCapabilities()); err != nil {
		return newVolume{}, err
	}
	parameters, err := parseParameters(request.GetParameters())
	if err != nil {
		return newVolume{}, err
	}
	if err := parameters.checkFilesystem(request.GetVolumeCapabilities()); err != nil {
		return newVolume{}, err
	}
	size, err := sizeOf(request.GetCapacityRange(), leastFor(request.GetVolumeCapabilities()))
	if err != nil {
		return newVolume{}, err
	}
	id, err := rds.NewVolumeID(parameters.pool, c.config.Directory, c.config.ClusterID, request.GetName())
	if err != nil {
		return newVolume{}, err
	}
	record := rds.NewRecord(id, request.GetName(), parameters.pv, parameters.pvc)
	field := (*rds.FieldError)(nil)
	if _, err := record.Encode(); errors.As(err, &field) && field.Field == rds.FieldVolume {
		return newVolume{}, &failure.InvalidError{Field: "name", Want: field.Want}
	}
	return newVolume{id: id, size: size, record: record, options: parameters.options}, nil
}

// checkCreate checks the fields that need no parsing. It refuses a field that isn't supported: the field would silently
// have no effect.
func checkCreate(request *csi.CreateVolumeRequest) error {
	switch {
	case request.GetName() == "":
		return &failure.InvalidError{Field: "name", Want: "one"}
	case len(request.GetName()) > maxNameLength:
		return &failure.InvalidError{Field: "name", Want: fmt.Sprintf("at most %d bytes", maxNameLength)}
	case request.GetVolumeContentSource() != nil:
		return &failure.InvalidError{Field: "volume_content_source", Want: "none: this version makes empty volumes only"}
	case len(request.GetMutableParameters()) > 0:
		return &failure.InvalidError{Field: "mutable_parameters", Want: "none: nothing of a volume can be changed but its size"}
	case requiresTopology(request.GetAccessibilityRequirements()):
		return &failure.InvalidError{Field: "accessibility_requirements", Want: "none: every node reaches the appliance"}
	}
	return nil
}

// requiresTopology reports whether a requirement names any segment. One that is there and empty requires nothing.
func requiresTopology(requirement *csi.TopologyRequirement) bool {
	return slices.ContainsFunc(slices.Concat(requirement.GetRequisite(), requirement.GetPreferred()),
		func(topology *csi.Topology) bool { return len(topology.GetSegments()) > 0 })
}

// checkCapabilities checks a list of capabilities, which must not be empty.
func checkCapabilities(capabilities []*csi.VolumeCapability) error {
	if len(capabilities) == 0 {
		return &failure.InvalidError{Field: "volume_capabilities", Want: "at least one"}
	}
	for _, wanted := range capabilities {
		if _, err := capability.Parse(wanted); err != nil {
			return err
		}
	}
	return nil
}
