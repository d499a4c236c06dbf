package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/node/host"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

const (
	// growthLimit is how long NodeExpandVolume waits for the device to have its new size. After it, kubelet calls again.
	growthLimit = 10 * time.Second
	// growthInterval is the time between two reads of the size. A rescan was measured to take less than 50 ms.
	growthInterval = 50 * time.Millisecond
)

// NodeExpandVolume has the kernel read the volume's size again, and grows the filesystem if there is one.
func (n *Service) NodeExpandVolume(ctx context.Context, request *csi.NodeExpandVolumeRequest) (*csi.NodeExpandVolumeResponse, error) {
	id, path, err := parseMounted(request.GetVolumeId(), request.GetVolumePath(), request.GetStagingTargetPath())
	if err != nil {
		return nil, err
	}
	wanted := request.GetCapacityRange()
	if required, limit := wanted.GetRequiredBytes(), wanted.GetLimitBytes(); required < 0 || limit < 0 || limit > 0 && required > limit {
		return nil, fmt.Errorf("capacity_range: %w: required_bytes %d, limit_bytes %d", failure.ErrOutOfRange, required, limit)
	}
	if capability := request.GetVolumeCapability(); capability != nil {
		if _, err := parseUse(capability); err != nil {
			return nil, err
		}
	}
	return run(ctx, &n.changes, request.GetVolumeId(), func(ctx context.Context) (*csi.NodeExpandVolumeResponse, error) {
		size, err := n.expand(ctx, id, path, wanted)
		return &csi.NodeExpandVolumeResponse{CapacityBytes: size}, err
	})
}

// expand grows the filesystem to the size of its device, and returns that size in bytes.
func (n *Service) expand(ctx context.Context, id rds.VolumeID, path string, wanted *csi.CapacityRange) (int64, error) {
	connection, err := n.liveConnection(ctx, id)
	if err != nil {
		return 0, err
	}
	live, err := n.openDevice(ctx, connection.SubsystemNQN, connection.Device)
	if err != nil {
		return 0, err
	}
	defer live.Close(ctx)
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		return 0, fmt.Errorf("%w: nothing is at %s", failure.ErrNotHere, path)
	}
	if err := n.connector.Rescan(ctx, connection.SubsystemNQN); err != nil {
		return 0, fmt.Errorf("%w: rescan %s: %w", failure.ErrConnection, connection.SubsystemNQN, err)
	}
	size, err := n.awaitSize(ctx, live.Path, wanted.GetRequiredBytes())
	if err != nil {
		return 0, err
	}
	if limit := wanted.GetLimitBytes(); limit > 0 && size > limit {
		return 0, fmt.Errorf("capacity_range: %w: %s has %d bytes, limit_bytes is %d", failure.ErrOutOfRange, live.Path, size, limit)
	}
	mounts, err := n.host.MountsOf(live.Number)
	if err != nil {
		return 0, err
	}
	for _, m := range mounts {
		if !host.IsDeviceNode(m) && !host.ReadOnly(m) {
			return size, n.host.Grow(ctx, live.Path, m.MountPoint, m.FsType)
		}
	}
	return size, nil
}

// liveConnection returns the volume's connection, which is live and has a device. It returns failure.ErrNotHere if the
// volume isn't connected, and failure.ErrConnection if the connection doesn't work.
func (n *Service) liveConnection(ctx context.Context, id rds.VolumeID) (nvme.Connection, error) {
	connections, err := n.connections(ctx, id)
	if err != nil {
		return nvme.Connection{}, err
	}
	switch best := bestConnection(connections); {
	case best.State == "":
		return nvme.Connection{}, fmt.Errorf("%w: %s is not connected; stage it first", failure.ErrNotHere, id)
	case best.State != stateLive, best.Device == "":
		return nvme.Connection{}, fmt.Errorf("%w: %s is %q, its device %q", failure.ErrConnection, best.SubsystemNQN, best.State, best.Device)
	default:
		return best, nil
	}
}

// awaitSize waits until the device has at least the required size in bytes, and returns the size that it has. After
// growthLimit it returns failure.ErrNotGrown.
func (n *Service) awaitSize(ctx context.Context, path string, required int64) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, growthLimit)
	defer cancel()
	poll := time.NewTicker(growthInterval)
	defer poll.Stop()
	for {
		size, err := n.host.Size(path)
		if err != nil {
			return 0, fmt.Errorf("%w: size of %s: %w", failure.ErrConnection, path, err)
		}
		if size >= required {
			return size, nil
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return 0, fmt.Errorf("%w: %s has %d bytes, %d are required; was the volume expanded at the appliance?", failure.ErrNotGrown, path, size, required)
		}
	}
}
