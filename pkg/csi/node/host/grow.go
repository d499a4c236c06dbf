package host

import (
	"context"
	"fmt"

	"k8s.io/klog/v2"
)

// Grow grows a mounted filesystem of this kind to the size of its device, if it is smaller. It doesn't ask blkid for the
// kind: data may look like another filesystem.
func (h *Host) Grow(ctx context.Context, device, mountPoint, kind string) error {
	command, needed := []string{"resize2fs", device}, []Capability{sysResource, dacReadSearch}
	if kind == xfs {
		command, needed = []string{"xfs_growfs", "-d", mountPoint}, []Capability{sysAdmin, dacReadSearch}
	}
	if output, err := h.run(ctx, command[0], command[1:]...); err != nil {
		return fmt.Errorf("grow the filesystem at %s: %w", mountPoint, nameLacking(fmt.Errorf("%s: %w: %s", command[0], err, output), needed...))
	}
	klog.FromContext(ctx).V(2).Info("Filesystem is as large as its device", "path", mountPoint, "device", device)
	return nil
}
