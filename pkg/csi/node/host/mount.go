package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
)

// Mount mounts the device at path. Before that it checks an ext4 filesystem, repairs it if no data is lost by that, and
// grows it, unless it is to be read only. It returns failure.ErrOtherFilesystem if the device doesn't have the wanted
// filesystem, failure.ErrDamaged if the filesystem can't be repaired, or the error of a command.
func (h *Host) Mount(ctx context.Context, device Device, path string, wanted Filesystem) error {
	there, err := h.holds(ctx, device.Path, wanted.Kind)
	if err != nil {
		return err
	}
	if !there {
		found, err := h.probe(ctx, device.Path)
		return errors.Join(fmt.Errorf("%w: %s holds %s, %s was asked for", failure.ErrOtherFilesystem, device.Path, cmp.Or(found, "nothing"), wanted.Kind), err)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("stage at %s: %w", path, err)
	}
	if wanted.Kind == ext4 && !wanted.ReadOnly {
		if err := h.prepareExt4(ctx, device); err != nil {
			return err
		}
	}
	if err := h.mounter.Mount(device.Path, path, wanted.Kind, wanted.mountOptions()); err != nil {
		return fmt.Errorf("stage at %s (%s; if the log of this kernel, %s, names a feature that it doesn't know, then the filesystem was made by newer tools than the kernel, and needs a newer one): %w",
			path, adviceOn(device.Path, wanted.Kind), kernelRelease(), err)
	}
	return nil
}

// kernelRelease is the version of the kernel, or what kept it from being read.
func kernelRelease() string {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return err.Error()
	}
	return unix.ByteSliceToString(name.Release[:])
}

// Bind mounts source, a directory or a device's node, at path too.
func (h *Host) Bind(ctx context.Context, source, path string, options ...string) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("publish at %s: %w", path, err)
	}
	if err := h.mounter.Mount(source, path, "", append([]string{"bind"}, options...)); err != nil {
		// A read-only bind mount takes two steps. If the second one fails, the mount must not be taken for a finished one
		// later.
		return fmt.Errorf("publish at %s: %w", path, errors.Join(err, h.Unmount(ctx, path)))
	}
	return nil
}
