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

// formatLimit bounds mkfs, which goes on after the call that started it has ended.
const formatLimit = 5 * time.Minute

// blkidNothing is the exit status of blkid if it found nothing. blkid also exits with it if it couldn't open the
// device, sometimes without a message. So it proves something only if blkid was silent, and the device could be read
// before.
const blkidNothing = 2

// probe returns the name of the filesystem on the device, a description of anything else that blkid recognises, or ""
// for nothing. It reads the device itself, not blkid's cache.
func (h *Host) probe(ctx context.Context, device string) (string, error) {
	if _, err := readEdges(device); err != nil {
		return "", err
	}
	output, err := h.run(ctx, "blkid", "--probe", "--output", "export", device)
	var exit utilexec.ExitError
	switch {
	case err == nil && output != "":
		for line := range strings.Lines(output) {
			if kind, found := strings.CutPrefix(strings.TrimSpace(line), "TYPE="); found && kind != "" {
				return kind, nil
			}
		}
		return fmt.Sprintf("no filesystem but %q", output), nil
	case errors.As(err, &exit) && exit.ExitStatus() == blkidNothing && output == "":
		return "", nil
	case err == nil:
		return "", fmt.Errorf("probe %s: blkid found something and named nothing", device)
	default:
		return "", fmt.Errorf("probe %s: blkid: %w: %s", device, err, output)
	}
}

// Format makes the wanted filesystem on a device that is proven blank. It changes nothing if the filesystem exists
// already. Anything else on the device may be data, and is an error: failure.ErrNotBlank or failure.ErrOtherFilesystem.
func (h *Host) Format(ctx context.Context, device string, wanted Filesystem) error {
	found, err := h.probe(ctx, device)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", failure.ErrNotBlank, err)
	case found == wanted.Kind:
		return nil
	case found != "":
		return fmt.Errorf("%w: %s holds %s, %s was asked for", failure.ErrOtherFilesystem, device, found, wanted.Kind)
	case wanted.ReadOnly:
		return fmt.Errorf("%w: %s holds no filesystem, and the volume is to be read only", failure.ErrOtherFilesystem, device)
	}
	if err := proveBlank(device); err != nil {
		return fmt.Errorf("%w: %w", failure.ErrNotBlank, err)
	}
	return h.mkfs(ctx, device, wanted.Kind)
}

// mkfs isn't interrupted when ctx ends: half a filesystem is neither blank nor usable. It has no option that forces
// anything, so it refuses a device that is in use. It discards nothing, because a blank device has nothing to discard.
func (h *Host) mkfs(ctx context.Context, device, kind string) error {
	command, arguments := "mkfs.ext4", []string{
		"-q",
		"-E", "nodiscard",
		"-m", "0", // a volume has no root user who needs a reserve
		"-e", "remount-ro", // after an error nothing more is written to what may be damaged
	}
	if kind == xfs {
		command, arguments = "mkfs.xfs", []string{"-q", "-K"}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), formatLimit)
	defer cancel()
	if output, err := h.run(ctx, command, append(arguments, device)...); err != nil {
		return fmt.Errorf("format %s: %s: %w: %s", device, command, err, output)
	}
	klog.FromContext(ctx).Info("Formatted a blank device", "device", device, "filesystem", kind)
	return nil
}
