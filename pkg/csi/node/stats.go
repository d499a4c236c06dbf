package node

import (
	"context"
	"fmt"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"k8s.io/mount-utils"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/node/host"
)

// lookLimit bounds a look at a volume, which hangs if its device does.
const lookLimit = 10 * time.Second

// NodeGetVolumeStats tells how full a filesystem is, or how large a raw block device. Kubelet asks every minute or so,
// and that is when a lost connection is noticed.
func (n *Service) NodeGetVolumeStats(ctx context.Context, request *csi.NodeGetVolumeStatsRequest) (*csi.NodeGetVolumeStatsResponse, error) {
	id, path, err := placeOf(request.GetVolumeId(), request.GetVolumePath())
	if err != nil {
		return nil, err
	}
	if err := checkOptionalPath("staging_target_path", request.GetStagingTargetPath()); err != nil {
		return nil, err
	}
	var usage []*csi.VolumeUsage
	err = n.look(ctx, request.GetVolumeId(), func(ctx context.Context) (err error) {
		if _, err := n.diagnose(ctx, id, []string{path}); err != nil {
			return err
		}
		usage, err = n.usageAt(path)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &csi.NodeGetVolumeStatsResponse{Usage: usage}, nil
}

// look runs a question about a volume, one at a time, and returns when it is answered or lookLimit is over. It leaves
// the volume unlocked: looking must not keep anybody from staging or unstaging.
func (n *Service) look(ctx context.Context, volumeID string, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	return bounded(ctx, &n.looks, volumeID, ask)
}

func (n *Service) usageAt(path string) ([]*csi.VolumeUsage, error) {
	mounts, err := n.host.MountsAt(path)
	if err != nil {
		return nil, err
	}
	if len(mounts) == 0 {
		return nil, fmt.Errorf("%w: nothing is mounted at %s", failure.ErrNotHere, path)
	}
	if top := mounts[len(mounts)-1]; host.IsDeviceNode(top) {
		return n.deviceUsage(top)
	}
	usage, err := n.host.Usage(path)
	if err != nil {
		return nil, fmt.Errorf("usage: %w", err)
	}
	block := usage.Bsize
	return []*csi.VolumeUsage{
		{
			Unit: csi.VolumeUsage_BYTES, Total: block * clamp(usage.Blocks), Available: block * clamp(usage.Bavail),
			Used: block * clamp(usage.Blocks-usage.Bfree),
		},
		{
			Unit: csi.VolumeUsage_INODES, Total: clamp(usage.Files), Available: clamp(usage.Ffree), Used: clamp(usage.Files - usage.Ffree),
		},
	}, nil
}

// clamp makes a count one that CSI takes: not negative.
func clamp(count uint64) int64 { return max(int64(count), 0) } //nolint:gosec // what overflows becomes 0

func (n *Service) deviceUsage(node mount.MountInfo) ([]*csi.VolumeUsage, error) {
	size, err := n.host.Size(node.MountPoint)
	if err != nil {
		return nil, fmt.Errorf("size of the device at %s: %w", node.MountPoint, err)
	}
	return []*csi.VolumeUsage{{Unit: csi.VolumeUsage_BYTES, Total: size}}, nil
}
