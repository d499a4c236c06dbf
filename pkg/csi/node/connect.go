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

// connectVolume connects the requested subsystem and returns its device, which the caller closes. It also removes what
// an earlier epoch left at the staging path and at the published paths.
//
// The target decides which epoch is current, because a disk has one subsystem NQN at a time. If the target accepts this
// node under the requested NQN, every other one is dead for good. If it refuses, nothing here is touched: the request
// itself may be the old one.
func (n *Service) connectVolume(ctx context.Context, s staging, published ...string) (_ host.Device, err error) {
	if err := n.connect(ctx, s.target); err != nil {
		return host.Device{}, err
	}
	paths := append([]string{s.path}, published...)
	if err := n.removeOldEpochs(ctx, s, paths); err != nil {
		return host.Device{}, err
	}
	live, err := n.awaitDevice(ctx, s.target.SubsystemNQN)
	if err != nil {
		return host.Device{}, err
	}
	defer func() {
		if err != nil {
			live.Close(ctx)
		}
	}()
	// The same epoch may have had another device, too: the kernel removes a device when it gives up a connection.
	for _, path := range paths {
		if err := n.host.DetachOthers(ctx, path, live.Number); err != nil {
			return host.Device{}, err
		}
	}
	n.staged.add(s.id, s.target)
	return live, nil
}

// removeOldEpochs ends the connections of every other epoch of the volume, and detaches their mounts at the paths. That
// has to come before the live device is waited for: the kernel shows no device while another one has the same identity.
// Disconnecting comes before unmounting, which waits for writes: they fail only once the connection has ended.
func (n *Service) removeOldEpochs(ctx context.Context, s staging, paths []string) error {
	connections, err := n.connections(ctx, s.id)
	if err != nil {
		return err
	}
	live := host.DeviceNumber(0) // stands for a device that doesn't exist yet, and so isn't mounted
	var dead []string
	for _, connection := range connections {
		switch {
		case connection.SubsystemNQN != s.target.SubsystemNQN:
			dead = append(dead, connection.SubsystemNQN)
		case connection.Device != "":
			if live, err = n.host.Number(connection.Device); err != nil {
				return fmt.Errorf("%w: look at the device of %s: %w", failure.ErrConnection, connection.SubsystemNQN, err)
			}
		}
	}
	if len(dead) == 0 {
		return nil
	}
	n.disconnectOldEpochs(ctx, dead)
	for _, path := range paths {
		if err := n.host.DetachOthers(ctx, path, live); err != nil {
			return err
		}
	}
	return nil
}

// oldEpochsLimit bounds the disconnection of earlier epochs. Kernels were seen to hang in it for ever.
const oldEpochsLimit = 10 * time.Second

// disconnectOldEpochs ends connections that the target doesn't serve any more. A failure is only logged: such a
// connection does no harm, and the volume must not wait for its end.
func (n *Service) disconnectOldEpochs(ctx context.Context, subsystemNQNs []string) {
	ctx, cancel := context.WithTimeout(ctx, oldEpochsLimit)
	defer cancel()
	for _, nqn := range subsystemNQNs {
		if err := n.connector.Disconnect(ctx, nqn); err != nil {
			klog.FromContext(ctx).Error(err, "Could not disconnect an earlier epoch; unstaging tries again", "subsystem", nqn)
			continue
		}
		klog.FromContext(ctx).V(2).Info("Disconnected an earlier epoch", "subsystem", nqn)
	}
}

func (n *Service) connect(ctx context.Context, target nvme.Target) error {
	if err := n.connector.Connect(ctx, target); err != nil {
		return fmt.Errorf("%w: connect %s at %s: %w", failure.ErrConnection, target.SubsystemNQN, target.Address, err)
	}
	return nil
}

// awaitDevice waits for the device of a connected subsystem, and opens it. The caller closes it.
func (n *Service) awaitDevice(ctx context.Context, subsystemNQN string) (host.Device, error) {
	path, err := n.connector.Device(ctx, subsystemNQN)
	if err != nil {
		return host.Device{}, fmt.Errorf("%w: wait for the device of %s: %w", failure.ErrConnection, subsystemNQN, err)
	}
	return n.openDevice(ctx, subsystemNQN, path)
}

// openDevice opens the device of a subsystem, which was found at path. Then it checks that the device is still there:
// before it was open, the kernel may have given the path to another volume. The caller closes the device.
func (n *Service) openDevice(ctx context.Context, subsystemNQN, path string) (host.Device, error) {
	device, err := n.host.OpenDevice(path)
	if err != nil {
		return host.Device{}, fmt.Errorf("%w: open the device of %s: %w", failure.ErrConnection, subsystemNQN, err)
	}
	connections, err := n.connector.Connections(ctx, subsystemNQN)
	if err == nil && !slices.ContainsFunc(connections, func(c nvme.Connection) bool { return c.SubsystemNQN == subsystemNQN && c.Device == path }) {
		err = fmt.Errorf("%s is not its device any more", path)
	}
	if err != nil {
		device.Close(ctx)
		return host.Device{}, fmt.Errorf("%w: look again at the device of %s: %w", failure.ErrConnection, subsystemNQN, err)
	}
	return device, nil
}

// connections returns the connections of every epoch of the volume.
func (n *Service) connections(ctx context.Context, id rds.VolumeID) ([]nvme.Connection, error) {
	connections, err := n.connector.Connections(ctx, id.SubsystemPrefix())
	if err != nil {
		return nil, fmt.Errorf("%w: list connections: %w", failure.ErrConnection, err)
	}
	return connections, nil
}
