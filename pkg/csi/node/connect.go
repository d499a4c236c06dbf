package node

import (
	"context"
	"fmt"
	"slices"
	"time"

	"k8s.io/klog/v2"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/node/host"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

// reach connects the requested subsystem, and takes away what an earlier epoch left at the staging path and at the paths
// where the volume is to be published. The caller closes the device.
//
// If another epoch is there, the target is the judge. A disk has one subsystem NQN at a time: if the target admits this
// node under the requested one, every other one is dead for good. If it doesn't, nothing here is touched, since the request
// itself may be the old one.
func (n *Service) reach(ctx context.Context, s staging, published ...string) (_ host.Device, err error) {
	if err := n.connect(ctx, s.target); err != nil {
		return host.Device{}, err
	}
	paths := append([]string{s.path}, published...)
	if err := n.dropDead(ctx, s, paths); err != nil {
		return host.Device{}, err
	}
	live, err := n.await(ctx, s.target.SubsystemNQN)
	if err != nil {
		return host.Device{}, err
	}
	defer func() {
		if err != nil {
			live.Close(ctx)
		}
	}()
	// The same epoch, too, may have had another device: one that the kernel gave up.
	for _, path := range paths {
		if err := n.host.DetachOthers(ctx, path, live.Number); err != nil {
			return host.Device{}, err
		}
	}
	n.staged.add(s.id, s.target)
	return live, nil
}

// dropDead takes away what is left of every other epoch of the volume: its connections, and what is mounted of it at the
// paths. The living device can only be waited for after that, because the kernel shows no device while another one has the
// same identity. Connections go first: unmounting waits for writes, and they fail only then.
func (n *Service) dropDead(ctx context.Context, s staging, paths []string) error {
	connections, err := n.connections(ctx, s.id)
	if err != nil {
		return err
	}
	living := host.DeviceNumber(0) // of a device that isn't there yet, and so can't be mounted
	var dead []string
	for _, connection := range connections {
		switch {
		case connection.SubsystemNQN != s.target.SubsystemNQN:
			dead = append(dead, connection.SubsystemNQN)
		case connection.Device != "":
			if living, err = n.host.Number(connection.Device); err != nil {
				return fmt.Errorf("%w: look at the device of %s: %w", failure.ErrConnection, connection.SubsystemNQN, err)
			}
		}
	}
	if len(dead) == 0 {
		return nil
	}
	n.disconnectDead(ctx, dead)
	for _, path := range paths {
		if err := n.host.DetachOthers(ctx, path, living); err != nil {
			return err
		}
	}
	return nil
}

// dropLimit bounds the disconnection of earlier epochs, in which kernels were seen to hang for ever.
const dropLimit = 10 * time.Second

// disconnectDead ends connections that are dead at the target. One that can't be ended does no harm, so it is left behind,
// and the living one doesn't wait for it.
func (n *Service) disconnectDead(ctx context.Context, subsystemNQNs []string) {
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

// connect connects the subsystem.
func (n *Service) connect(ctx context.Context, target nvme.Target) error {
	if err := n.connector.Connect(ctx, target); err != nil {
		return fmt.Errorf("%w: connect %s at %s: %w", failure.ErrConnection, target.SubsystemNQN, target.Address, err)
	}
	return nil
}

// await waits for the device of a connected subsystem, and opens it. The caller closes it.
func (n *Service) await(ctx context.Context, subsystemNQN string) (host.Device, error) {
	path, err := n.connector.Device(ctx, subsystemNQN)
	if err != nil {
		return host.Device{}, fmt.Errorf("%w: wait for the device of %s: %w", failure.ErrConnection, subsystemNQN, err)
	}
	return n.open(ctx, subsystemNQN, path)
}

// open opens the device that was found at path, and then looks whether it is still there: between the two, the path may
// have become that of another volume.
func (n *Service) open(ctx context.Context, subsystemNQN, path string) (host.Device, error) {
	found, err := n.host.OpenDevice(path)
	if err != nil {
		return host.Device{}, fmt.Errorf("%w: open the device of %s: %w", failure.ErrConnection, subsystemNQN, err)
	}
	connections, err := n.connector.Connections(ctx, subsystemNQN)
	if err == nil && !slices.ContainsFunc(connections, func(c nvme.Connection) bool { return c.SubsystemNQN == subsystemNQN && c.Device == path }) {
		err = fmt.Errorf("%s is not its device any more", path)
	}
	if err != nil {
		found.Close(ctx)
		return host.Device{}, fmt.Errorf("%w: look again at the device of %s: %w", failure.ErrConnection, subsystemNQN, err)
	}
	return found, nil
}

// connections lists the connections of every epoch of the volume.
func (n *Service) connections(ctx context.Context, id rds.VolumeID) ([]nvme.Connection, error) {
	connections, err := n.connector.Connections(ctx, id.SubsystemPrefix())
	if err != nil {
		return nil, fmt.Errorf("%w: list connections: %w", failure.ErrConnection, err)
	}
	return connections, nil
}
