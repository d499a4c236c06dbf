package host

import (
	"context"
	"errors"
	"fmt"
	"slices"
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

// blkidAmbivalent is the exit status of blkid if it found several filesystems; that of util-linux 2.41 then ends as if it
// had found none.
const blkidAmbivalent = 8

// several is what the device holds if it holds more than one filesystem.
const several = "more than one filesystem (wipefs on the node lists them)"

// Two questions are asked of a device, and neither answers the other. holds says whether a filesystem may be mounted: it is
// there, whatever the data in it looks like. probe says whether anything is there at all: only a device on which blkid
// recognises nothing, and whose edges are blank, may be formatted.

// holds reports whether the device has a filesystem of this kind. What else the device may look like doesn't count: pages
// of a database and images of disks, which are the data of this filesystem, look like other filesystems.
func (h *Host) holds(ctx context.Context, device, kind string) (bool, error) {
	found, err := h.blkid(ctx, device, "--match-types", kind)
	return found == kind, err
}

// probe returns the name of the filesystem on the device, a description of anything else that blkid or wipefs recognises, or
// "" for nothing. wipefs lists every signature that it finds, so its silence means nothing else.
func (h *Host) probe(ctx context.Context, device string) (string, error) {
	if found, err := h.blkid(ctx, device); err != nil || found != "" {
		return found, err
	}
	signatures, err := h.run(ctx, "wipefs", "--no-act", "--noheadings", "--output", "TYPE", device)
	switch {
	case err != nil:
		return "", fmt.Errorf("probe %s: wipefs: %w: %s", device, err, signatures)
	case signatures != "":
		return several, nil
	}
	return "", nil
}

// blkid reads the device itself, not blkid's cache.
func (h *Host) blkid(ctx context.Context, device string, options ...string) (string, error) {
	if _, err := readEdges(device); err != nil {
		return "", err
	}
	output, err := h.run(ctx, "blkid", append(append([]string{"--probe", "--output", "export"}, options...), device)...)
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
	case errors.As(err, &exit) && exit.ExitStatus() == blkidAmbivalent:
		return several, nil
	case err == nil:
		return "", fmt.Errorf("probe %s: blkid found something and named nothing", device)
	default:
		return "", fmt.Errorf("probe %s: blkid: %w: %s", device, err, output)
	}
}

// Format makes the wanted filesystem on a device that is proven blank. It changes nothing if the filesystem exists
// already. Anything else on the device may be data, and is an error: failure.ErrNotBlank or failure.ErrOtherFilesystem.
func (h *Host) Format(ctx context.Context, device string, wanted Filesystem) error {
	there, err := h.holds(ctx, device, wanted.Kind)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", failure.ErrNotBlank, err)
	case there:
		return nil
	}
	found, err := h.probe(ctx, device)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", failure.ErrNotBlank, err)
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

// conservative are, for each filesystem, options that leave out features which are newer than kernels that are still in use:
// a volume may be mounted by any node. The first that mkfs knows are taken. Where it doesn't know a feature it has none.
func conservative(kind string) [][]string {
	if kind == xfs {
		return [][]string{{"-i", "nrext64=0,exchange=0", "-n", "parent=0"}, {"-i", "nrext64=0"}, nil}
	}
	return [][]string{{"-O", "^orphan_file,^metadata_csum_seed"}, {"-O", "^metadata_csum_seed"}, nil}
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
	var output string
	var err error
	for _, features := range conservative(kind) {
		if output, err = h.run(ctx, command, slices.Concat(arguments, features, []string{device})...); err == nil {
			klog.FromContext(ctx).Info("Formatted a blank device", "device", device, "filesystem", kind)
			return nil
		}
		// An option that mkfs doesn't know has it end before it writes anything.
		if proveBlank(device) != nil {
			break
		}
	}
	return fmt.Errorf("format %s: %s: %w: %s", device, command, err, output)
}
