package controller

import (
	"fmt"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/capability"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
)

const (
	mebibyte = int64(1) << 20
	// sizeStep is what sizes are rounded up to: NVMe drops what doesn't fill a block, and people think in MiB.
	sizeStep = mebibyte
	// minimumSize leaves room for a filesystem with a journal.
	minimumSize = 16 * mebibyte
	// minimumXFS is the least that mkfs.xfs makes a filesystem on, since xfsprogs 5.19. It refuses on the node, too late.
	minimumXFS = 300 * mebibyte
	// maximumSize, 1 PiB, is beyond any pool of the appliance and far from where sums of sizes would overflow.
	maximumSize = int64(1) << 50
	// defaultSize is for a request that names none.
	defaultSize = 1024 * mebibyte
)

// leastFor is the least size in bytes of a volume that must serve these capabilities.
func leastFor(capabilities []*csi.VolumeCapability) int64 {
	least := minimumSize
	for _, wanted := range capabilities {
		least = max(least, leastWith(wanted.GetMount().GetFsType()))
	}
	return least
}

// leastWith is the least size in bytes of a volume that gets this filesystem; an empty one stands for any or none.
func leastWith(filesystem string) int64 {
	if filesystem == capability.XFS {
		return minimumXFS
	}
	return minimumSize
}

// sizeOf gives the size in bytes of a new volume: at least what is required and at least least, within the limit, in
// whole steps.
func sizeOf(capacity *csi.CapacityRange, least int64) (int64, error) {
	required, limit := capacity.GetRequiredBytes(), capacity.GetLimitBytes()
	switch {
	case required < 0 || limit < 0:
		return 0, &failure.InvalidError{Field: "capacity_range", Want: "no negative sizes"}
	case limit > 0 && required > limit:
		return 0, &failure.InvalidError{Field: "capacity_range", Want: fmt.Sprintf("required_bytes (%d) within limit_bytes (%d)", required, limit)}
	case required > maximumSize:
		return 0, fmt.Errorf("%w: %d bytes are required, %d are the most", failure.ErrOutOfRange, required, maximumSize)
	}
	size := required
	if size == 0 {
		size = defaultSize
		if limit > 0 {
			size = min(size, limit/sizeStep*sizeStep)
		}
	}
	size = max((size+sizeStep-1)/sizeStep*sizeStep, least)
	if limit > 0 && size > limit {
		return 0, fmt.Errorf("%w: at most %d bytes are wanted, but sizes are multiples of %d from %d on", failure.ErrOutOfRange, limit, sizeStep, least)
	}
	return size, nil
}

// sizeMatches reports whether an existing volume of this size is what the request asks for.
func sizeMatches(size int64, capacity *csi.CapacityRange) bool {
	return size >= capacity.GetRequiredBytes() && (capacity.GetLimitBytes() == 0 || size <= capacity.GetLimitBytes())
}
