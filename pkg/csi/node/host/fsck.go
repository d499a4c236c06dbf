package host

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"k8s.io/klog/v2"
	utilexec "k8s.io/utils/exec"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
)

// fsckLimit bounds e2fsck, which goes on after the call that started it has ended. If each call started anew, the check
// of a large filesystem would never end. Meanwhile other calls for the volume get ABORTED.
const fsckLimit = 30 * time.Minute

// The bits of e2fsck's exit status, as in its manual page. Several may be set.
const (
	e2fsckCorrected   = 1
	e2fsckUncorrected = 4
)

// prepareExt4 checks an ext4 filesystem that nobody has mounted, in whatever mount namespace, and grows it to the size of
// its device. It returns failure.ErrDamaged if e2fsck can't repair it. xfs needs neither: it replays its log and grows when
// it is mounted, and other repairs of it need a decision by people.
func (h *Host) prepareExt4(ctx context.Context, device Device) error {
	if claimed, err := h.claimed(device); err != nil || claimed {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fsckLimit)
	defer cancel()
	switch err := h.fsck(ctx, device.Path, "-p"); {
	case errors.Is(err, errNewFeature):
		// The kernel may well know it; if not, it refuses.
		klog.FromContext(ctx).Error(err, "Mounting a filesystem that wasn't checked; update e2fsprogs in the node plugin's image", "device", device.Path)
		return nil
	case err != nil:
		return err
	}
	return h.growUnmounted(ctx, device.Path)
}

// errNewFeature says that a filesystem has a feature that the program doesn't know. It was made by a newer one, and isn't
// damaged.
var errNewFeature = errors.New("the filesystem has a feature that is newer than the program")

// growUnmounted grows an ext4 filesystem that isn't mounted: to grow one that is, the kernel wants CAP_SYS_RESOURCE.
// resize2fs refuses to grow a filesystem that wasn't checked in full since it was mounted. A filesystem that can't grow is
// only logged, since it can be used as it is. If the check finds damage, the error is failure.ErrDamaged.
func (h *Host) growUnmounted(ctx context.Context, device string) error {
	if _, err := h.run(ctx, "resize2fs", device); err == nil {
		return nil
	}
	if err := h.fsck(ctx, device, "-p", "-f"); err != nil {
		return err
	}
	if output, err := h.run(ctx, "resize2fs", device); err != nil {
		klog.FromContext(ctx).Error(err, "Could not grow a filesystem before mounting it", "device", device, "output", output)
	}
	return nil
}

// fsck has e2fsck replay the journal, and repair what can be repaired without loss (-p). It returns failure.ErrDamaged if
// e2fsck can't repair the filesystem.
func (h *Host) fsck(ctx context.Context, device string, options ...string) error {
	output, err := h.run(ctx, "e2fsck", append(options, device)...)
	exit, exited := errors.AsType[utilexec.ExitError](err)
	switch {
	case err == nil:
		return nil
	case exited && exit.ExitStatus() == e2fsckCorrected:
		klog.FromContext(ctx).Info("Corrected a filesystem before mounting it", "device", device, "output", output)
		return nil
	case exited && strings.Contains(output, "unsupported feature"):
		return fmt.Errorf("%w: e2fsck -p: %s", errNewFeature, output)
	case exited && exit.ExitStatus() > 0 && exit.ExitStatus()&e2fsckUncorrected != 0:
		return fmt.Errorf("%w: %s: e2fsck -p: %s", failure.ErrDamaged, adviceOn(device, ext4), output)
	default:
		return fmt.Errorf("check %s before mounting it: e2fsck -p: %w: %s", device, err, output)
	}
}

// adviceOn returns what an operator can do about a filesystem that can't be mounted.
func adviceOn(device, kind string) string {
	command := "e2fsck -f " + device
	if kind == xfs {
		command = "xfs_repair " + device
	}
	return "if it is damaged, then on this node, while no pod uses the volume: " + command + ", after a copy of the backing file was made"
}
