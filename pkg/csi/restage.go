package csi

import (
	"context"
	"fmt"
	"strings"
	"time"

	"k8s.io/klog/v2"
	"k8s.io/mount-utils"
)

// reach connects the requested subsystem and clears away what an earlier epoch left at the staging path, and at the one where a
// pod is to have the volume, if any.
//
// If something else is there, the target is the judge: a disk has one subsystem NQN at a time, so if the
// requested one lets us in, the other one is dead for good. If it doesn't, nothing here is touched: the request may be
// the old one. The caller releases the device.
func (n *Node) reach(ctx context.Context, s staging, published ...string) (_ device, err error) {
	if err := n.connect(ctx, s.target); err != nil {
		return device{}, err
	}
	paths := append([]string{s.path}, published...)
	if err := n.dropDead(ctx, s, paths); err != nil {
		return device{}, err
	}
	live, err := n.await(ctx, s.target.SubsystemNQN)
	if err != nil {
		return device{}, err
	}
	defer func() {
		if err != nil {
			live.release(ctx)
		}
	}()
	// The same epoch, too, may have had another device: one that the kernel gave up.
	for _, path := range paths {
		if err := n.detachDead(ctx, path, live.number); err != nil {
			return device{}, err
		}
	}
	n.memory.keep(s.volume, s.target)
	return live, nil
}

// dropDead takes away what is left of every epoch of the volume but the one that let us in: its connections, and what is
// mounted of it at the paths. It has to happen before the living device is waited for, because the kernel shows no device as
// long as another one has the same identity. Connections go first, since unmounting waits for writes that only then fail.
func (n *Node) dropDead(ctx context.Context, s staging, paths []string) error {
	connections, err := n.connections(ctx, s.volume)
	if err != nil {
		return err
	}
	living := deviceNumber(0) // of a device that isn't there yet, and so can't be mounted
	var dead []string
	for _, connection := range connections {
		switch {
		case connection.SubsystemNQN != s.target.SubsystemNQN:
			dead = append(dead, connection.SubsystemNQN)
		case connection.Device != "":
			if living, err = n.kernel.number(connection.Device); err != nil {
				return fmt.Errorf("%w: look at the device of %s: %w", errConnection, connection.SubsystemNQN, err)
			}
		}
	}
	if len(dead) == 0 {
		return nil
	}
	n.disconnectDead(ctx, dead)
	for _, path := range paths {
		if err := n.detachDead(ctx, path, living); err != nil {
			return err
		}
	}
	return nil
}

// dropLimit bounds the disconnection of earlier epochs: kernels were seen to hang in that for ever.
const dropLimit = 10 * time.Second

// disconnectDead ends connections that are dead at the target. One that can't be ended does no harm by itself, so it is left
// behind, and the living one doesn't wait for it.
func (n *Node) disconnectDead(ctx context.Context, subsystemNQNs []string) {
	ctx, cancel := context.WithTimeout(ctx, dropLimit)
	defer cancel()
	for _, nqn := range subsystemNQNs {
		if err := n.connector.Disconnect(ctx, nqn); err != nil {
			klog.FromContext(ctx).Error(err, "Could not disconnect an earlier epoch, which is dead; unstaging tries again", "subsystem", nqn)
			continue
		}
		klog.FromContext(ctx).V(2).Info("Disconnected an earlier epoch", "subsystem", nqn)
	}
}

// detachDead takes mounts of any other device than the living one away from path. It detaches lazily: nothing that is
// still in memory can be written to a dead device, and waiting for it could take for ever.
func (n *Node) detachDead(ctx context.Context, path string, living deviceNumber) error {
	mounts, err := n.mountsAt(path)
	if err != nil {
		return err
	}
	// Only what lies on top is seen, and can be taken away.
	for range mounts {
		dead, err := n.deadOnTop(path, living)
		if err != nil || dead == nil {
			return err
		}
		klog.FromContext(ctx).Info("Detaching a dead mount: the volume is now reached by another device", "path", path, "dead", dead.Source)
		// Looking at a dead mount may hang, so umount must take the path as it is.
		if output, err := n.run(ctx, "umount", "--lazy", "--no-canonicalize", dead.MountPoint); err != nil {
			return fmt.Errorf("detach the dead mount at %s: %w: %s", path, err, output)
		}
	}
	dead, err := n.deadOnTop(path, living)
	if err == nil && dead != nil {
		err = fmt.Errorf("detach the dead mount at %s: %s is %w", path, dead.Source, errInUse)
	}
	return err
}

// deadOnTop gives what lies on top at path if it shows another device than the living one, else nil.
func (n *Node) deadOnTop(path string, living deviceNumber) (*mount.MountInfo, error) {
	mounts, err := n.mountsAt(path)
	if err != nil || len(mounts) == 0 {
		return nil, err
	}
	top := mounts[len(mounts)-1]
	shown, err := n.shownBy(top)
	if err != nil || shown == living {
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
