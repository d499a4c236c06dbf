package node

import (
	"context"
	"fmt"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/node/host"
)

// NodeGetVolumeStats returns how full a filesystem is, or how large a raw block device is. Kubelet calls it about once
// a minute. That is when a lost connection is noticed.
func (n *Service) NodeGetVolumeStats(ctx context.Context, request *csi.NodeGetVolumeStatsRequest) (*csi.NodeGetVolumeStatsResponse, error) {
	id, path, err := parseMounted(request.GetVolumeId(), request.GetVolumePath(), request.GetStagingTargetPath())
	if err != nil {
		return nil, err
	}
	return run(ctx, &n.looks, request.GetVolumeId(), func(ctx context.Context) (*csi.NodeGetVolumeStatsResponse, error) {
		if _, _, err := n.look(ctx, id, []string{path}); err != nil {
			return nil, err
		}
		usage, err := n.usageAt(path)
		return &csi.NodeGetVolumeStatsResponse{Usage: usage}, err
	})
}

func (n *Service) usageAt(path string) ([]*csi.VolumeUsage, error) {
	top, err := n.host.TopMountAt(path)
	switch {
	case err != nil:
		return nil, err
	case top == nil:
		return nil, fmt.Errorf("%w: nothing is mounted at %s", failure.ErrNotHere, path)
	case host.IsDeviceNode(*top):
		size, err := n.host.Size(top.MountPoint)
		if err != nil {
			return nil, fmt.Errorf("size of the device at %s: %w", top.MountPoint, err)
		}
		return []*csi.VolumeUsage{{Unit: csi.VolumeUsage_BYTES, Total: size}}, nil
	}
	usage, err := n.host.Usage(path)
	if err != nil {
		return nil, fmt.Errorf("usage: %w", err)
	}
	block := usage.Bsize
	return []*csi.VolumeUsage{
		{
			Unit: csi.VolumeUsage_BYTES, Total: block * nonNegative(usage.Blocks), Available: block * nonNegative(usage.Bavail),
			Used: block * nonNegative(usage.Blocks-usage.Bfree),
		},
		{
			Unit: csi.VolumeUsage_INODES, Total: nonNegative(usage.Files), Available: nonNegative(usage.Ffree), Used: nonNegative(usage.Files - usage.Ffree),
		},
	}, nil
}

// nonNegative converts a count of the kernel. CSI allows no negative one, so a count that overflows becomes 0.
func nonNegative(count uint64) int64 { return max(int64(count), 0) } //nolint:gosec // see above
