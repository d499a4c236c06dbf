package node

import (
	"context"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/node/host"
)

// NodeUnpublishVolume removes the mount at the target path, and the empty directory or file that it was on; nothing
// else.
func (n *Service) NodeUnpublishVolume(ctx context.Context, request *csi.NodeUnpublishVolumeRequest) (*csi.NodeUnpublishVolumeResponse, error) {
	path, err := checkRemoval(request.GetVolumeId(), "target_path", request.GetTargetPath())
	if err != nil {
		return nil, err
	}
	return run(ctx, &n.changes, request.GetVolumeId(), func(ctx context.Context) (*csi.NodeUnpublishVolumeResponse, error) {
		if err := n.host.Unmount(ctx, path); err != nil {
			return nil, err
		}
		return &csi.NodeUnpublishVolumeResponse{}, host.RemoveMountPoint(path)
	})
}
