package csi

import (
	"context"
	"fmt"
	"io"
	"slices"

	"k8s.io/klog/v2"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
)

// device is a block device that is held open: the path where the connector found it, and the number by which it is told
// from every other one. As long as it is held, the kernel gives neither to another device; not even if the connection is
// lost, when the path leads nowhere, and the volume that is connected again gets another one. So mkfs, mount and others
// that know nothing but a path can't hit another volume by it.
type device struct {
	path   string
	number deviceNumber
	held   io.Closer
}

// release lets the kernel give path and number away.
func (d device) release(ctx context.Context) {
	if err := d.held.Close(); err != nil {
		klog.FromContext(ctx).Error(err, "Could not let go of a device", "device", d.path)
	}
}

// connect connects the subsystem.
func (n *Node) connect(ctx context.Context, target nvme.Target) error {
	if err := n.connector.Connect(ctx, target); err != nil {
		return fmt.Errorf("%w: connect %s at %s: %w", errConnection, target.SubsystemNQN, target.Address, err)
	}
	return nil
}

// await waits for the device of a subsystem that is connected, and holds it. The caller releases it.
func (n *Node) await(ctx context.Context, subsystemNQN string) (device, error) {
	path, err := n.connector.Device(ctx, subsystemNQN)
	if err != nil {
		return device{}, fmt.Errorf("%w: wait for the device of %s: %w", errConnection, subsystemNQN, err)
	}
	return n.hold(ctx, subsystemNQN, path)
}

// hold opens the device that was found at path, and then looks whether it is still there: between the two, the path may
// have become that of another volume.
func (n *Node) hold(ctx context.Context, subsystemNQN, path string) (device, error) {
	held, number, err := n.kernel.open(path)
	if err != nil {
		return device{}, fmt.Errorf("%w: open the device of %s: %w", errConnection, subsystemNQN, err)
	}
	found := device{path: path, number: number, held: held}
	connections, err := n.connector.Connections(ctx, subsystemNQN)
	if err == nil && !slices.ContainsFunc(connections, func(c nvme.Connection) bool { return c.SubsystemNQN == subsystemNQN && c.Device == path }) {
		err = fmt.Errorf("%s is not its device any more", path)
	}
	if err != nil {
		found.release(ctx)
		return device{}, fmt.Errorf("%w: look again at the device of %s: %w", errConnection, subsystemNQN, err)
	}
	return found, nil
}
