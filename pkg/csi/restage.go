package csi

import (
	"context"
	"fmt"
	"strings"

	"k8s.io/klog/v2"
)

// reach connects the requested subsystem and clears away what an earlier epoch left at the staging path.
//
// If something else is staged there, the target is the judge: a disk has one subsystem NQN at a time, so if the
// requested one lets us in, the other one is dead for good. If it doesn't, nothing here is touched: the request may be
// the old one.
func (n *Node) reach(ctx context.Context, s staging) (device string, err error) {
	device, err = n.connector.Connect(ctx, s.target)
	if err != nil {
		return "", fmt.Errorf("%w: connect %s at %s: %w", errConnection, s.target.SubsystemNQN, s.target.Address, err)
	}
	if err := n.detachDead(ctx, s.path, device); err != nil {
		return "", err
	}
	connections, err := n.connector.Connections(ctx, s.volume.SubsystemPrefix())
	if err != nil {
		return "", fmt.Errorf("%w: list connections: %w", errConnection, err)
	}
	for _, connection := range connections {
		if connection.SubsystemNQN == s.target.SubsystemNQN {
			continue
		}
		if err := n.connector.Disconnect(ctx, connection.SubsystemNQN); err != nil {
			return "", fmt.Errorf("%w: disconnect the earlier %s: %w", errConnection, connection.SubsystemNQN, err)
		}
		klog.FromContext(ctx).V(2).Info("Disconnected an earlier epoch", "subsystem", connection.SubsystemNQN, "device", connection.Device)
	}
	return device, nil
}

// detachDead takes mounts of any other device than the live one away from path. It detaches lazily: nothing that is
// still in memory can be written to a dead device, and waiting for it could take for ever.
func (n *Node) detachDead(ctx context.Context, path, device string) error {
	mounts, err := n.mountsAt(path)
	if err != nil {
		return err
	}
	// The last one in the table lies on top; only what is on top is seen, and can be taken away.
	for i := len(mounts) - 1; i >= 0 && mounts[i].Device != device; i-- {
		klog.FromContext(ctx).Info("Detaching a dead mount: the volume is now reached under a newer epoch", "path", path, "dead", mounts[i].Device, "device", device)
		// Looking at a dead mount may hang, so umount must take the path as it is.
		if output, err := n.run(ctx, "umount", "--lazy", "--no-canonicalize", mounts[i].Path); err != nil {
			return fmt.Errorf("detach the dead mount at %s: %w: %s", path, err, output)
		}
	}
	if mounts, err = n.mountsAt(path); err != nil {
		return err
	}
	if last := len(mounts) - 1; last >= 0 && mounts[last].Device != device {
		return fmt.Errorf("detach the dead mount at %s: %s is %w", path, mounts[last].Device, errInUse)
	}
	return nil
}

// run gives what a command wrote, on one line; the context ends the command too.
func (n *Node) run(ctx context.Context, name string, arguments ...string) (string, error) {
	output, err := n.commands.CommandContext(ctx, name, arguments...).CombinedOutput()
	klog.FromContext(ctx).V(5).Info("Ran a command", "command", name, "arguments", arguments, "output", string(output), "err", err)
	return strings.TrimSpace(string(output)), err
}
