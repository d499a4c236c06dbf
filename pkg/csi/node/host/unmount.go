package host

import (
	"context"
	"fmt"

	"k8s.io/klog/v2"
	"k8s.io/mount-utils"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
)

// Unmount takes away every mount at path; having none is success.
func (h *Host) Unmount(ctx context.Context, path string) error {
	mounts, err := h.MountsAt(path)
	if err != nil || len(mounts) == 0 {
		return err
	}
	for _, m := range mounts {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("unmount %s: %w", path, err)
		}
		if err := h.mounter.Unmount(m.MountPoint); err != nil {
			return fmt.Errorf("unmount %s: %w", path, err)
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

// DetachOthers takes away the mounts at path that show another device than the living one. It detaches them lazily: what
// is still in memory can't be written to a dead device, and waiting for that could take for ever.
func (h *Host) DetachOthers(ctx context.Context, path string, living DeviceNumber) error {
	mounts, err := h.MountsAt(path)
	if err != nil {
		return err
	}
	// Only the mount on top is visible, and can be taken away.
	for range mounts {
		dead, err := h.deadOnTop(path, living)
		if err != nil || dead == nil {
			return err
		}
		klog.FromContext(ctx).Info("Detaching a dead mount: the volume is now reached by another device", "path", path, "dead", dead.Source)
		// Looking at a dead mount may hang, so umount must take the path as it is.
		if output, err := h.run(ctx, "umount", "--lazy", "--no-canonicalize", dead.MountPoint); err != nil {
			return fmt.Errorf("detach the dead mount at %s: %w: %s", path, err, output)
		}
	}
	dead, err := h.deadOnTop(path, living)
	if err == nil && dead != nil {
		err = fmt.Errorf("detach the dead mount at %s: %s is %w", path, dead.Source, failure.ErrInUse)
	}
	return err
}

// deadOnTop returns the mount on top at path if it shows another device than the living one, else nil.
func (h *Host) deadOnTop(path string, living DeviceNumber) (*mount.MountInfo, error) {
	mounts, err := h.MountsAt(path)
	if err != nil || len(mounts) == 0 {
		return nil, err
	}
	top := mounts[len(mounts)-1]
	shown, err := h.DeviceOf(top)
	if err != nil || shown == living {
		return nil, err
	}
	return &top, nil
}
