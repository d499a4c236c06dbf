package csi

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/klog/v2"
	utilexec "k8s.io/utils/exec"
)

// repairLimit bounds e2fsck, which runs on when the call that began it has given up: begun anew at each call, the check
// of a large filesystem would never end. Meanwhile other calls for the volume get ABORTED.
const repairLimit = 30 * time.Minute

// What e2fsck's exit status says, as its manual page has it. Bits may come together.
const (
	e2fsckCorrected   = 1
	e2fsckUncorrected = 4
)

// repair lets e2fsck replay the journal of an ext4 filesystem and mend what can be mended without losing anything
// (-p). It is left out where it would do harm or can't work: on what is mounted somewhere, on what is to be read only,
// and on xfs, which replays its log when it is mounted and whose other repairs are a human's decision.
func (n *Node) repair(ctx context.Context, live device, wanted use) error {
	if wanted.kind != "ext4" || wanted.readOnly {
		return nil
	}
	mounts, err := n.mountsOf(live.number)
	if err != nil || len(mounts) > 0 {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), repairLimit)
	defer cancel()
	output, err := n.run(ctx, "e2fsck", "-p", live.path)
	exit, exited := errors.AsType[utilexec.ExitError](err)
	switch {
	case err == nil:
		return nil
	case exited && exit.ExitStatus() == e2fsckCorrected:
		klog.FromContext(ctx).Info("Corrected a filesystem before mounting it", "device", live.path, "output", output)
		return nil
	case exited && exit.ExitStatus() > 0 && exit.ExitStatus()&e2fsckUncorrected != 0:
		return fmt.Errorf("%w: %s: e2fsck -p: %s", errDamaged, adviceOn(live.path, wanted.kind), output)
	default:
		return fmt.Errorf("check %s before mounting it: e2fsck -p: %w: %s", live.path, err, output)
	}
}

// adviceOn says what a human can do about a filesystem that can't be mounted.
func adviceOn(device, kind string) string {
	command := "e2fsck -f " + device
	if kind == filesystemXFS {
		command = "xfs_repair " + device
	}
	return "if it is damaged, then on this node, while no pod uses the volume: " + command + ", after a copy of the backing file was made"
}
