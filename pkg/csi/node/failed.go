package node

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/klog/v2"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/node/host"
)

// removeFailed unmounts the staged filesystem if it has failed, and reports whether it did. Mounting it again mends it.
// It returns failure.ErrInUse if somebody else still has the filesystem: it fails for everybody until the last one is
// gone.
func (n *Service) removeFailed(ctx context.Context, live host.Device, s staging) (bool, error) {
	top, err := n.host.TopMountAt(s.path)
	if err != nil || top == nil {
		return false, err
	}
	failed := n.host.Failed(*top)
	switch {
	case failed == nil:
		return false, nil
	case !errors.Is(failed, host.ErrShutDown) && !errors.Is(failed, host.ErrUnwritable):
		klog.FromContext(ctx).Error(failed, "It isn't known whether the staged filesystem works", "path", s.path, "device", live.Path)
		return false, nil
	}
	published, err := n.host.MountedElsewhere(live.Number, s.path)
	if err != nil {
		return false, err
	}
	if published != "" {
		return false, fmt.Errorf("%w: %s: %w, and it is mounted at %s too; delete the pods that use it, so that it is checked and mounted again", failure.ErrInUse, s.id, failed, published)
	}
	klog.FromContext(ctx).Error(failed, "Unmounting a filesystem that failed, to check it and mount it again", "path", s.path, "device", live.Path)
	if err := n.host.Unmount(ctx, s.path); err != nil {
		return false, err
	}
	claim, err := n.host.Reserve(ctx, live)
	if err != nil {
		return false, fmt.Errorf("%s can't be checked and mounted again: %w: %w", s.id, failed, err)
	}
	closeClaim(ctx, claim, live)
	return true, nil
}
