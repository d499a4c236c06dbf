package host

import (
	"context"
	"fmt"

	"k8s.io/klog/v2"
	"k8s.io/mount-utils"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
)

// Unmount removes every mount at path; having none is success. It returns failure.ErrNotShared, and unmounts nothing, if
// the mounts would stay on the host: the caller disconnects the device next.
func (h *Host) Unmount(ctx context.Context, path string) error {
	mounts, err := h.MountsAt(path)
	if err != nil || len(mounts) == 0 {
		return err
	}
	if err := h.checkSharedParent(path); err != nil {
		return fmt.Errorf("unmount %s: %w", path, err)
	}
	for _, m := range mounts {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("unmount %s: %w", path, err)
		}
		if err := h.mounter.Unmount(m.MountPoint); err != nil {
			return fmt.Errorf("unmount %s: %w", path, nameLacking(err, sysAdmin))
		}
	}
	left, err := h.MountsAt(path)
	if err != nil {
		return err
	}
	if len(left) > 0 {
		return fmt.Errorf("unmount %s: %s is %w", path, left[0].Source, failure.ErrInUse)
	}
	klog.FromContext(ctx).V(2).Info("Unmounted", "path", path, "device", mounts[len(mounts)-1].Source)
	return nil
}

// DetachOthers removes the mounts at path of every device but the live one. It detaches them lazily: what is in memory
// can't be written to a dead device, and waiting for that could take for ever.
func (h *Host) DetachOthers(ctx context.Context, path string, live DeviceNumber) error {
	mounts, err := h.MountsAt(path)
	if err != nil {
		return err
	}
	// Only the mount on top is visible, and can be removed.
	for left := len(mounts); ; left-- {
		dead, err := h.deadOnTop(path, live)
		switch {
		case err != nil || dead == nil:
			return err
		case left == 0:
			return fmt.Errorf("detach the dead mount at %s: %s is %w", path, dead.Source, failure.ErrInUse)
		}
		klog.FromContext(ctx).Info("Detaching a dead mount: the volume is now reached by another device", "path", path, "dead", dead.Source)
		// umount must take the path as it is: to resolve it would touch the dead mount, which may hang.
		if output, err := h.run(ctx, "umount", "--lazy", "--no-canonicalize", dead.MountPoint); err != nil {
			return fmt.Errorf("detach the dead mount at %s: %w", path, nameLacking(fmt.Errorf("%w: %s", err, output), sysAdmin))
		}
	}
}

// deadOnTop returns the mount on top at path unless it is of the live device; nil if there is none.
func (h *Host) deadOnTop(path string, live DeviceNumber) (*mount.MountInfo, error) {
	top, err := h.TopMountAt(path)
	if err != nil || top == nil {
		return nil, err
	}
	device, err := h.DeviceOf(*top)
	if err != nil || device == live {
		return nil, err
	}
	return top, nil
}
