package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
)

// Mount mounts the device at path if it holds the wanted filesystem, after an ext4 was checked. Errors:
// failure.ErrOtherFilesystem, failure.ErrDamaged, or those of the commands.
func (h *Host) Mount(ctx context.Context, device Device, path string, wanted Filesystem) error {
	found, err := h.probe(ctx, device.Path)
	if err != nil {
		return err
	}
	if found != wanted.Kind {
		return fmt.Errorf("%w: %s holds %s, %s was asked for", failure.ErrOtherFilesystem, device.Path, cmp.Or(found, "nothing"), wanted.Kind)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("stage at %s: %w", path, err)
	}
	if err := h.fsck(ctx, device, wanted); err != nil {
		return err
	}
	if err := h.mounter.Mount(device.Path, path, wanted.Kind, wanted.mountOptions()); err != nil {
		return fmt.Errorf("stage at %s (%s): %w", path, adviceOn(device.Path, wanted.Kind), err)
	}
	return nil
}

// Bind shows source, a directory or a device's node, at path as well.
func (h *Host) Bind(ctx context.Context, source, path string, options ...string) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("publish at %s: %w", path, err)
	}
	if err := h.mounter.Mount(source, path, "", append([]string{"bind"}, options...)); err != nil {
		// Read-only takes two steps. What the first one left must not be taken for a finished publication later.
		return fmt.Errorf("publish at %s: %w", path, errors.Join(err, h.Unmount(ctx, path)))
	}
	return nil
}
