package host

import (
	"context"
	"errors"
	"fmt"
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

// fsck has e2fsck replay the journal of an ext4 filesystem, and repair what can be repaired without loss (-p). It
// returns failure.ErrDamaged if e2fsck can't repair it. It does nothing if the filesystem is mounted, in whatever mount
// namespace, or is to be read only. Nor does it check xfs, which replays its log when it is mounted; other repairs of
// it need a decision by people.
func (h *Host) fsck(ctx context.Context, device Device, wanted Filesystem) error {
	if wanted.Kind != ext4 || wanted.ReadOnly {
		return nil
	}
	if claimed, err := h.claimed(device); err != nil || claimed {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fsckLimit)
	defer cancel()
	output, err := h.run(ctx, "e2fsck", "-p", device.Path)
	exit, exited := errors.AsType[utilexec.ExitError](err)
	switch {
	case err == nil:
		return nil
	case exited && exit.ExitStatus() == e2fsckCorrected:
		klog.FromContext(ctx).Info("Corrected a filesystem before mounting it", "device", device.Path, "output", output)
		return nil
	case exited && exit.ExitStatus() > 0 && exit.ExitStatus()&e2fsckUncorrected != 0:
		return fmt.Errorf("%w: %s: e2fsck -p: %s", failure.ErrDamaged, adviceOn(device.Path, wanted.Kind), output)
	default:
		return fmt.Errorf("check %s before mounting it: e2fsck -p: %w: %s", device.Path, err, output)
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
