package host

import (
	"context"
	"fmt"

	"k8s.io/klog/v2"
)

// Grow grows a mounted filesystem of this kind to the size of its device, if it is smaller. It doesn't ask blkid for the
// kind: data may look like another filesystem.
func (h *Host) Grow(ctx context.Context, device, mountPoint, kind string) error {
	command, needs := []string{"resize2fs", device}, "; the kernel lets only a process with CAP_SYS_RESOURCE grow an ext4 that is mounted; one that is staged anew is grown before that"
	if kind == xfs {
		command, needs = []string{"xfs_growfs", "-d", mountPoint}, ""
	}
	if output, err := h.run(ctx, command[0], command[1:]...); err != nil {
		return fmt.Errorf("grow the filesystem at %s: %s: %w: %s%s", mountPoint, command[0], err, output, needs)
	}
	klog.FromContext(ctx).V(2).Info("Filesystem is as large as its device", "path", mountPoint, "device", device)
	return nil
}
