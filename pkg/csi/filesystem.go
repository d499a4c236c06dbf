package csi

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"k8s.io/klog/v2"
	utilexec "k8s.io/utils/exec"
)

// formatLimit bounds mkfs, which runs on when the call that began it has given up.
const formatLimit = 5 * time.Minute

// blkidNothing is how blkid ends when it found nothing, and also when it couldn't even open the device, sometimes
// without a word. So it counts only if it is silent and we could read the device ourselves.
const blkidNothing = 2

// probe names what is on the device: a filesystem, something else, or "" for nothing that blkid knows. It reads the
// device itself, past every cache of what used to be there.
func (n *Node) probe(ctx context.Context, device string) (string, error) {
	if _, err := readEdges(device); err != nil {
		return "", err
	}
	output, err := n.run(ctx, "blkid", "--probe", "--output", "export", device)
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

// makeFilesystem formats a device that is proven blank, and leaves one alone that has the wanted use. Anything
// else is an error: what is there may be somebody's data.
func (n *Node) makeFilesystem(ctx context.Context, device string, wanted use) error {
	found, err := n.probe(ctx, device)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", errNotBlank, err)
	case found == wanted.kind:
		return nil
	case found != "":
		return fmt.Errorf("%w: %s holds %s, %s was asked for", errOtherFilesystem, device, found, wanted.kind)
	case wanted.readOnly:
		return fmt.Errorf("%w: %s holds no filesystem, and the volume is to be read only", errOtherFilesystem, device)
	}
	if err := proveBlank(device); err != nil {
		return fmt.Errorf("%w: %w", errNotBlank, err)
	}
	return n.format(ctx, device, wanted.kind)
}

// format runs mkfs to its end even if the caller gives up: half a filesystem is neither blank nor usable. No option
// forces anything, since without force mkfs itself refuses a device that is in use; and nothing is discarded, since
// the blank device has nothing to discard.
func (n *Node) format(ctx context.Context, device, kind string) error {
	command, arguments := "mkfs.ext4", []string{
		"-q",
		"-E", "nodiscard",
		"-m", "0", // a volume has no root user who needs a reserve
		"-e", "remount-ro", // after an error nothing more is written to what may be damaged
	}
	if kind == filesystemXFS {
		command, arguments = "mkfs.xfs", []string{"-q", "-K"}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), formatLimit)
	defer cancel()
	if output, err := n.run(ctx, command, append(arguments, device)...); err != nil {
		return fmt.Errorf("format %s: %s: %w: %s", device, command, err, output)
	}
	klog.FromContext(ctx).Info("Formatted a blank device", "device", device, "filesystem", kind)
	return nil
}

// mountStaged mounts the device at the staging path if it holds the wanted use.
func (n *Node) mountStaged(ctx context.Context, live device, s staging) error {
	found, err := n.probe(ctx, live.path)
	if err != nil {
		return err
	}
	if found != s.use.kind {
		return fmt.Errorf("%w: %s holds %s, %s was asked for", errOtherFilesystem, live.path, orNothing(found), s.use.kind)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("stage at %s: %w", s.path, err)
	}
	if err := n.repair(ctx, live, s.use); err != nil {
		return err
	}
	if err := n.mounter.Mount(live.path, s.path, s.use.kind, s.use.mountOptions()); err != nil {
		return fmt.Errorf("stage at %s (%s): %w", s.path, adviceOn(live.path, s.use.kind), err)
	}
	klog.FromContext(ctx).V(2).Info("Staged", "path", s.path, "device", live.path, "subsystem", s.target.SubsystemNQN)
	return nil
}

func orNothing(found string) string {
	if found == "" {
		return "nothing"
	}
	return found
}
