package controller

import (
	"fmt"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/capability"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
)

const (
	mebibyte = int64(1) << 20
	// sizeStep is what sizes are rounded up to. NVMe would drop what doesn't fill a block, and people think in MiB.
	sizeStep = mebibyte
	// minimumSize leaves room for a filesystem with a journal.
	minimumSize = 16 * mebibyte
	// minimumXFS is the smallest device on which mkfs.xfs makes a filesystem, since xfsprogs 5.19. On the node the refusal
	// would come too late.
	minimumXFS = 300 * mebibyte
	// maximumSize, 1 PiB, is larger than any pool of the appliance, and sums of such sizes don't overflow.
	maximumSize = int64(1) << 50
	// defaultSize is the size of a volume whose request names none.
	defaultSize = 1024 * mebibyte
)

// leastFor returns the smallest size in bytes of a volume with these capabilities.
func leastFor(capabilities []*csi.VolumeCapability) int64 {
	least := minimumSize
	for _, wanted := range capabilities {
		least = max(least, leastWith(wanted.GetMount().GetFsType()))
	}
	return least
}

// leastWith returns the smallest size in bytes of a volume with this filesystem; "" stands for the default or none.
func leastWith(filesystem string) int64 {
	if filesystem == capability.XFS {
		return minimumXFS
	}
	return minimumSize
}

// sizeOf returns the size in bytes of a volume: a multiple of sizeStep that is at least the required size and at least
// least. It returns failure.ErrOutOfRange if that is more than the limit.
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
