package csi

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"k8s.io/klog/v2"
	"k8s.io/mount-utils"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

const (
	// growthLimit is how long NodeExpandVolume waits for the device to show its new size before it lets kubelet ask again.
	growthLimit = 10 * time.Second
	// growthInterval is how often it looks. A rescan was measured to take less than 50 ms.
	growthInterval = 50 * time.Millisecond
)

// NodeExpandVolume lets the kernel look at the volume's size again and grows the filesystem, if it has one.
func (n *Node) NodeExpandVolume(ctx context.Context, request *csi.NodeExpandVolumeRequest) (*csi.NodeExpandVolumeResponse, error) {
	volume, path, err := placeOf(request.GetVolumeId(), request.GetVolumePath())
	if err != nil {
		return nil, err
	}
	if err := checkOptionalPath("staging_target_path", request.GetStagingTargetPath()); err != nil {
		return nil, err
	}
	wanted := request.GetCapacityRange()
	if required, limit := wanted.GetRequiredBytes(), wanted.GetLimitBytes(); required < 0 || limit < 0 || limit > 0 && required > limit {
		return nil, fmt.Errorf("capacity_range: %w: required_bytes %d, limit_bytes %d", errOutOfRange, required, limit)
	}
	if capability := request.GetVolumeCapability(); capability != nil {
		if _, err := useOf(capability); err != nil {
			return nil, err
		}
	}
	var size int64
	err = n.whileLocked(ctx, request.GetVolumeId(), func(ctx context.Context) (err error) {
		size, err = n.expand(ctx, volume, path, wanted)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &csi.NodeExpandVolumeResponse{CapacityBytes: size}, nil
}

// placeOf judges a request about a volume that should be staged or published at a path. CSI wants NOT_FOUND, errNotHere,
// for everything that can't be there.
func placeOf(volumeID, path string) (rds.VolumeID, string, error) {
	if err := checkVolumeID(volumeID); err != nil {
		return rds.VolumeID{}, "", err
	}
	if path == "" {
		return rds.VolumeID{}, "", &invalidError{field: "volume_path", want: "one"}
	}
	if filepath.IsAbs(path) {
		if _, err := checkedPath("volume_path", path); err != nil {
			return rds.VolumeID{}, "", err
		}
	}
	volume, err := rds.ParseVolumeID(volumeID)
	if err != nil {
		return rds.VolumeID{}, "", fmt.Errorf("%w: volume_id: %w", errNotHere, err)
	}
	if !filepath.IsAbs(path) {
		return rds.VolumeID{}, "", fmt.Errorf("%w: volume_path %q is not absolute", errNotHere, path)
	}
	return volume, filepath.Clean(path), nil
}

func (n *Node) expand(ctx context.Context, volume rds.VolumeID, path string, wanted *csi.CapacityRange) (int64, error) {
	connection, err := n.connected(ctx, volume)
	if err != nil {
		return 0, err
	}
	live, err := n.hold(ctx, connection.SubsystemNQN, connection.Device)
	if err != nil {
		return 0, err
	}
	defer live.release(ctx)
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		return 0, fmt.Errorf("%w: nothing is at %s", errNotHere, path)
	}
	if err := n.connector.Rescan(ctx, connection.SubsystemNQN); err != nil {
		return 0, fmt.Errorf("%w: rescan %s: %w", errConnection, connection.SubsystemNQN, err)
	}
	size, err := n.awaitSize(ctx, live.path, wanted.GetRequiredBytes())
	if err != nil {
		return 0, err
	}
	if limit := wanted.GetLimitBytes(); limit > 0 && size > limit {
		return 0, fmt.Errorf("capacity_range: %w: %s has %d bytes, limit_bytes is %d", errOutOfRange, live.path, size, limit)
	}
	mounts, err := n.mountsOf(live.number)
	if err != nil {
		return 0, err
	}
	for _, m := range mounts {
		if !isNode(m) && !readOnly(m) {
			return size, n.grow(ctx, live.path, m.MountPoint)
		}
	}
	return size, nil
}

// connected gives the volume's connection, which must be alive and have a device; errNotHere if there is none.
func (n *Node) connected(ctx context.Context, volume rds.VolumeID) (nvme.Connection, error) {
	connections, err := n.connections(ctx, volume)
	if err != nil {
		return nvme.Connection{}, err
	}
	switch best := bestOf(connections); {
	case best.State == "":
		return nvme.Connection{}, fmt.Errorf("%w: %s is not connected; stage it first", errNotHere, volume)
	case best.State != stateLive, best.Device == "":
		return nvme.Connection{}, fmt.Errorf("%w: %s is %q, its device %q", errConnection, best.SubsystemNQN, best.State, best.Device)
	default:
		return best, nil
	}
}

// awaitSize waits until the device has at least the required size, and gives the one that it has.
func (n *Node) awaitSize(ctx context.Context, path string, required int64) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, growthLimit)
	defer cancel()
	look := time.NewTicker(growthInterval)
	defer look.Stop()
	for {
		size, err := n.kernel.size(path)
		if err != nil {
			return 0, fmt.Errorf("%w: size of %s: %w", errConnection, path, err)
		}
		if size >= required {
			return size, nil
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return 0, fmt.Errorf("%w: %s has %d bytes, %d are required; was the volume expanded at the appliance?", errNotGrown, path, size, required)
		}
	}
}

// growStaged grows the staged filesystem to its device, unless it is to be read only. If that fails, the volume is usable
// all the same and only smaller: NodeExpandVolume, which kubelet calls where somebody waits for the size, says why.
func (n *Node) growStaged(ctx context.Context, live device, s staging) {
	if s.use.readOnly {
		return
	}
	if err := n.grow(ctx, live.path, s.path); err != nil {
		klog.FromContext(ctx).Error(err, "The staged filesystem stays smaller than its device", "device", live.path)
	}
}

// grow makes a mounted filesystem as large as its device; one that is so already stays as it is.
func (n *Node) grow(ctx context.Context, path, mountPoint string) error {
	if _, err := mount.NewResizeFs(n.commands).Resize(path, mountPoint); err != nil {
		return fmt.Errorf("grow the filesystem at %s: %w", mountPoint, err)
	}
	klog.FromContext(ctx).V(2).Info("Filesystem is as large as its device", "path", mountPoint, "device", path)
	return nil
}
