package host

import (
	"context"
	"fmt"

	"k8s.io/klog/v2"
	"k8s.io/mount-utils"
)

// Grow grows a mounted filesystem to the size of its device, if it is smaller.
func (h *Host) Grow(ctx context.Context, device, mountPoint string) error {
	if _, err := mount.NewResizeFs(h.commands).Resize(device, mountPoint); err != nil {
		return fmt.Errorf("grow the filesystem at %s: %w", mountPoint, err)
	}
	klog.FromContext(ctx).V(2).Info("Filesystem is as large as its device", "path", mountPoint, "device", device)
	return nil
}
