package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"k8s.io/klog/v2"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/node/host"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
)

// reservation is the devices of a volume that nobody uses, and that nobody can mount until it ends.
type reservation []func()

func (r reservation) end() {
	for _, end := range slices.Backward(r) {
		end()
	}
}

// reserve makes sure that the volume can be disconnected without loss: nobody uses a device of it, in whatever mount
// namespace, and everything is on the target. It returns failure.ErrInUse if somebody does. The caller ends what is
// reserved.
func (n *Service) reserve(ctx context.Context, u unstaging) (reserved reservation, err error) {
	connections, err := n.connections(ctx, u.id)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			reserved.end()
			reserved = nil
		}
	}()
	for _, connection := range connections {
		switch {
		case connection.Device == "":
			continue
		case n.isDead(connection, connections, u):
			klog.FromContext(ctx).Info("Disconnecting an earlier epoch without a look at its users: the target doesn't serve it any more", "subsystem", connection.SubsystemNQN)
			continue
		}
		ends, err := n.reserveOne(ctx, connection)
		reserved = append(reserved, ends...)
		if err == nil {
			continue
		}
		if errors.Is(err, failure.ErrInUse) || n.isLive(ctx, connection.SubsystemNQN) {
			return reserved, err
		}
		klog.FromContext(ctx).Error(err, "The target is away; what was not yet written to it may be lost", "subsystem", connection.SubsystemNQN, "device", connection.Device)
	}
	return reserved, nil
}

func (n *Service) reserveOne(ctx context.Context, connection nvme.Connection) (reserved reservation, err error) {
	// Open until the end: commands and errors name it by its path, which must not become another volume's.
	device, err := n.openDevice(ctx, connection.SubsystemNQN, connection.Device)
	if err != nil {
		return nil, err
	}
	reserved = reservation{func() { device.Close(ctx) }}
	claim, err := n.host.Reserve(ctx, device)
	if err != nil {
		return reserved, err
	}
	reserved = append(reserved, func() { closeClaim(ctx, claim, device) })
	if err := n.host.Flush(device.Path); err != nil {
		return reserved, fmt.Errorf("%w: write what is in memory to %s: %w; look at the appliance's disk", failure.ErrConnection, connection.SubsystemNQN, err)
	}
	return reserved, nil
}

func closeClaim(ctx context.Context, claim io.Closer, device host.Device) {
	if err := claim.Close(); err != nil {
		klog.FromContext(ctx).Error(err, "Could not give up the claim of a device", "device", device.Path)
	}
}

// isDead reports whether a connection is one of an earlier epoch. A process that didn't stage the volume doesn't know
// the current epoch. Then a connection that works tells that the others, which don't, are dead.
func (n *Service) isDead(connection nvme.Connection, all []nvme.Connection, u unstaging) bool {
	if current, known := n.staged.target(u.id); known {
		return connection.SubsystemNQN != current.SubsystemNQN
	}
	return connection.State != stateLive && bestConnection(all).State == stateLive
}

// isLive reports whether the subsystem has a connection that works. It reports true if that isn't known.
func (n *Service) isLive(ctx context.Context, subsystemNQN string) bool {
	connections, err := n.connector.Connections(ctx, subsystemNQN)
	return err != nil || bestConnection(connections).State == stateLive
}

// syncStaged writes what the staged filesystem has in memory to the target. Unmounting alone doesn't, if the filesystem
// stays mounted in another mount namespace. A failure is only logged: a filesystem that failed never writes again, and
// must be unmounted all the same.
func (n *Service) syncStaged(ctx context.Context, u unstaging) error {
	top, err := n.host.TopMountAt(u.path)
	if err != nil || top == nil || host.IsDeviceNode(*top) {
		return err
	}
	if err := n.host.Sync(top.MountPoint); err != nil {
		klog.FromContext(ctx).Error(err, "The filesystem can't write what is in memory; what was not yet synced may be lost", "path", u.path, "device", top.Source)
	}
	return nil
}
