package csi

import (
	"context"
	"fmt"
	"strings"
	"time"

	"k8s.io/klog/v2"
	"k8s.io/mount-utils"
)

// reach connects the requested subsystem and clears away what an earlier epoch left at the staging path.
//
// If something else is staged there, the target is the judge: a disk has one subsystem NQN at a time, so if the
// requested one lets us in, the other one is dead for good. If it doesn't, nothing here is touched: the request may be
// the old one. The caller releases the device.
func (n *Node) reach(ctx context.Context, s staging) (_ device, err error) {
	live, err := n.connect(ctx, s.target)
	if err != nil {
		return device{}, err
	}
	defer func() {
		if err != nil {
			live.release(ctx)
		}
	}()
	if err := n.detachDead(ctx, s.path, live); err != nil {
		return device{}, err
	}
	if err := n.dropDead(ctx, s); err != nil {
		return device{}, err
	}
	n.memory.keep(s.volume, s.target)
	return live, nil
}

// dropLimit bounds the disconnection of an earlier epoch: kernels were seen to hang in that for ever.
const dropLimit = 10 * time.Second

// dropDead disconnects every epoch of the volume but the one that let us in. One that can't be disconnected is left behind:
// it is dead at the target, so it does no harm, and the living one mustn't wait for it.
func (n *Node) dropDead(ctx context.Context, s staging) error {
	connections, err := n.connections(ctx, s.volume)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, dropLimit)
	defer cancel()
	for _, connection := range connections {
		if connection.SubsystemNQN == s.target.SubsystemNQN {
			continue
		}
		if err := n.connector.Disconnect(ctx, connection.SubsystemNQN); err != nil {
			klog.FromContext(ctx).Error(err, "Could not disconnect an earlier epoch, which is dead; unstaging tries again", "subsystem", connection.SubsystemNQN)
			continue
		}
		klog.FromContext(ctx).V(2).Info("Disconnected an earlier epoch", "subsystem", connection.SubsystemNQN, "device", connection.Device)
	}
	return nil
}

// detachDead takes mounts of any other device than the live one away from path. It detaches lazily: nothing that is
// still in memory can be written to a dead device, and waiting for it could take for ever.
func (n *Node) detachDead(ctx context.Context, path string, live device) error {
	mounts, err := n.mountsAt(path)
	if err != nil {
		return err
	}
	// Only what lies on top is seen, and can be taken away.
	for range mounts {
		dead, err := n.deadOnTop(path, live)
		if err != nil || dead == nil {
			return err
		}
		klog.FromContext(ctx).Info("Detaching a dead mount: the volume is now reached by another device", "path", path, "dead", dead.Source, "device", live.path)
		// Looking at a dead mount may hang, so umount must take the path as it is.
		if output, err := n.run(ctx, "umount", "--lazy", "--no-canonicalize", dead.MountPoint); err != nil {
			return fmt.Errorf("detach the dead mount at %s: %w: %s", path, err, output)
		}
	}
	dead, err := n.deadOnTop(path, live)
	if err == nil && dead != nil {
		err = fmt.Errorf("detach the dead mount at %s: %s is %w", path, dead.Source, errInUse)
	}
	return err
}

// deadOnTop gives what lies on top at path if it shows another device than the live one, else nil.
func (n *Node) deadOnTop(path string, live device) (*mount.MountInfo, error) {
	mounts, err := n.mountsAt(path)
	if err != nil || len(mounts) == 0 {
		return nil, err
	}
	top := mounts[len(mounts)-1]
	shown, err := n.shownBy(top)
	if err != nil || shown == live.number {
		return nil, err
	}
	return &top, nil
}

// restage makes what a publication builds on, as NodeStageVolume does, but never formats: what was staged once has a
// filesystem.
func (n *Node) restage(ctx context.Context, live device, s staging) error {
	if err := n.checkUse(live, s); err != nil {
		return err
	}
	if s.use.block {
		return n.setWritable(live, s.use)
	}
	staged, err := n.isStaged(s)
	if err != nil || staged {
		return err
	}
	if err := n.mountStaged(ctx, live, s); err != nil {
		return err
	}
	n.growStaged(ctx, live, s)
	return nil
}

// run gives what a command wrote, on one line; the context ends the command too.
func (n *Node) run(ctx context.Context, name string, arguments ...string) (string, error) {
	output, err := n.commands.CommandContext(ctx, name, arguments...).CombinedOutput()
	klog.FromContext(ctx).V(5).Info("Ran a command", "command", name, "arguments", arguments, "output", string(output), "err", err)
	return strings.TrimSpace(string(output)), err
}
