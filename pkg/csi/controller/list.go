package controller

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

// ListVolumes returns the volumes of this cluster, sorted by ID, in pages. A token is the last ID of the page before.
// So a volume that is made or deleted between two pages neither repeats nor hides another one.
func (c *Service) ListVolumes(ctx context.Context, request *csi.ListVolumesRequest) (*csi.ListVolumesResponse, error) {
	if err := checkPage(request); err != nil {
		return nil, err
	}
	disks, err := c.appliance.List(ctx)
	if err != nil {
		return nil, err
	}
	listed, next := page(disks, idOfDisk, request)
	response := &csi.ListVolumesResponse{NextToken: next}
	for _, disk := range listed {
		response.Entries = append(response.Entries, &csi.ListVolumesResponse_Entry{Volume: volumeOf(disk)})
	}
	return response, nil
}

// ControllerGetVolume returns one volume and the nodes that have it.
func (c *Service) ControllerGetVolume(ctx context.Context, request *csi.ControllerGetVolumeRequest) (*csi.ControllerGetVolumeResponse, error) {
	disk, err := c.existingDisk(ctx, request)
	if err != nil {
		return nil, err
	}
	return &csi.ControllerGetVolumeResponse{
		Volume: volumeOf(disk),
		Status: &csi.ControllerGetVolumeResponse_VolumeStatus{PublishedNodeIds: disk.Record.Holding.Holders},
	}, nil
}

func volumeOf(disk rds.Disk) *csi.Volume {
	return &csi.Volume{VolumeId: disk.ID.String(), CapacityBytes: disk.Size}
}

func idOfDisk(disk rds.Disk) string { return disk.ID.String() }

// pageRequest is what requests for one page of a list have in common.
type pageRequest interface {
	GetMaxEntries() int32
	GetStartingToken() string
}

func checkPage(request pageRequest) error {
	if request.GetMaxEntries() < 0 {
		return &failure.InvalidError{Field: "max_entries", Want: "0, for all, or more"}
	}
	if token := request.GetStartingToken(); token != "" {
		if _, err := rds.ParseVolumeID(token); err != nil {
			return fmt.Errorf("%w: %w", failure.ErrBadToken, err)
		}
	}
	return nil
}

// page sorts the items by ID, and returns the requested ones. next is the token of the next page, or "" after the last
// one.
func page[T any](items []T, id func(T) string, request pageRequest) (part []T, next string) {
	slices.SortFunc(items, func(a, b T) int { return cmp.Compare(id(a), id(b)) })
	if token := request.GetStartingToken(); token != "" {
		items = slices.DeleteFunc(items, func(item T) bool { return id(item) <= token })
	}
	if limit := int(request.GetMaxEntries()); limit > 0 && len(items) > limit {
		return items[:limit], id(items[limit-1])
	}
	return items, ""
}
