package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"k8s.io/klog/v2"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/node/host"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

// DefaultFlushTimeout is how long unmounting waits for a target that is away. It is more than a short outage takes and less
// than kubelet's patience with one call. What is lost after it was never synced, and no pod is there to miss it; what it
// buys is that a node whose storage network is broken lets go of the volume.
const DefaultFlushTimeout = 90 * time.Second

// NodeUnstageVolume unmounts the staging path and disconnects every subsystem of the volume, whatever its epoch.
func (n *Service) NodeUnstageVolume(ctx context.Context, request *csi.NodeUnstageVolumeRequest) (*csi.NodeUnstageVolumeResponse, error) {
	path, err := checkRemoval(request.GetVolumeId(), "staging_target_path", request.GetStagingTargetPath())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	for {
		err = n.whileLocked(ctx, request.GetVolumeId(), func(ctx context.Context) error {
			return n.unstage(ctx, request.GetVolumeId(), path)
		})
		if err == nil {
			return &csi.NodeUnstageVolumeResponse{}, nil
		}
		if !errors.Is(err, failure.ErrBusy) || !n.outlast(ctx, request.GetVolumeId(), path) {
			return nil, err
		}
	}
}

// outlast waits for another operation on the volume, and tells whether it ended. Staging hangs when its target goes away
// meanwhile, and holds the volume until it is back, however long that takes. Now that nobody wants the volume here any more,
// it is ended as flush ends unmounting.
func (n *Service) outlast(ctx context.Context, volumeID, path string) bool {
	patience := time.NewTicker(n.flushTimeout)
	defer patience.Stop()
	for {
		select {
		case <-n.locks.Unlocked(volumeID):
			return true
		case <-ctx.Done():
			return false
		case <-patience.C:
			id, err := rds.ParseVolumeID(volumeID)
			if err == nil {
				err = n.giveUp(ctx, id, path)
			}
			if err != nil {
				klog.FromContext(ctx).Error(err, "Still waiting for another operation on the volume", "path", path)
			}
		}
	}
}

func (n *Service) unstage(ctx context.Context, volumeID, path string) error {
	id, err := rds.ParseVolumeID(volumeID)
	if err != nil {
		// The PersistentVolume was edited. It must not keep its pod from ending, and it can't name a connection of ours.
		klog.FromContext(ctx).Error(err, "Unmounting without disconnecting: the volume ID isn't ours", "path", path)
		return n.host.Unmount(ctx, path)
	}
	connections, err := n.connections(ctx, id)
	if err != nil {
		return err
	}
	if err := n.checkUnused(connections, path); err != nil {
		return err
	}
	if err := n.flush(ctx, id, path); err != nil {
		return err
	}
	// Forgotten before it is disconnected, so that nobody connects it again.
	n.staged.remove(id)
	return n.disconnect(context.WithoutCancel(ctx), connections)
}

// checkUnused makes sure that nothing is taken away under a pod: what is staged, and what is connected, may be mounted
// at the staging path only.
func (n *Service) checkUnused(connections []nvme.Connection, stagingPath string) error {
	devices, err := n.devicesOf(connections, stagingPath)
	if err != nil {
		return err
	}
	own, err := host.Resolve(stagingPath)
	if err != nil {
		return err
	}
	for device, name := range devices {
		mounts, err := n.host.MountsOf(device)
		if err != nil {
			return err
		}
		for _, m := range mounts {
			if m.MountPoint != own {
				return fmt.Errorf("%w: %s is mounted at %s too; unpublish it there first", failure.ErrInUse, name, m.MountPoint)
			}
		}
	}
	return nil
}

// devicesOf names the devices of connections and those mounted at the staging path, which may be another one's whose
// connection is gone.
func (n *Service) devicesOf(connections []nvme.Connection, stagingPath string) (map[host.DeviceNumber]string, error) {
	devices := map[host.DeviceNumber]string{}
	for _, connection := range connections {
		if connection.Device == "" {
			continue
		}
		number, err := n.host.Number(connection.Device)
		if errors.Is(err, os.ErrNotExist) {
			continue // it went away just now
		}
		if err != nil {
			return nil, fmt.Errorf("look at the device of %s: %w", connection.SubsystemNQN, err)
		}
		devices[number] = connection.Device
	}
	mounts, err := n.host.MountsAt(stagingPath)
	if err != nil {
		return nil, err
	}
	for _, m := range mounts {
		number, err := n.host.DeviceOf(m)
		if err != nil {
			return nil, err
		}
		devices[number] = m.Source
	}
	return devices, nil
}

// flush unmounts the staging path, for which the kernel writes what is still in memory. While the target is away that
// takes for ever; then, after flushTimeout, its controllers are deleted, which lets the writes fail and unmounting end.
// A target that is connected is waited for as long as it takes. So flush outlives its caller, and holds the volume.
func (n *Service) flush(ctx context.Context, id rds.VolumeID, path string) error {
	ctx = context.WithoutCancel(ctx)
	unmounted := make(chan error, 1)
	go func() { unmounted <- failure.Recover(ctx, func() error { return n.host.Unmount(ctx, path) }) }()
	patience := time.NewTicker(n.flushTimeout)
	defer patience.Stop()
	for {
		select {
		case err := <-unmounted:
			return err
		case <-patience.C:
			if err := n.giveUp(ctx, id, path); err != nil {
				klog.FromContext(ctx).Error(err, "Still unmounting", "path", path)
			}
		}
	}
}

// giveUp disconnects the volume unless its target is connected, or it is mounted elsewhere than at the staging path.
func (n *Service) giveUp(ctx context.Context, id rds.VolumeID, stagingPath string) error {
	connections, err := n.connections(ctx, id)
	if err != nil {
		return err
	}
	if err := n.checkUnused(connections, stagingPath); err != nil {
		return err
	}
	for _, connection := range connections {
		if connection.State == stateLive {
			return fmt.Errorf("%s is connected and may be writing", connection.SubsystemNQN)
		}
	}
	klog.FromContext(ctx).Info("The target is away: what was never written to it is given up, so that the volume can be unmounted", "waited", n.flushTimeout)
	return n.disconnect(ctx, connections)
}

// disconnectLimit bounds one disconnection: the kernel itself gives up its farewell to a silent target after 60 s.
const disconnectLimit = 75 * time.Second

func (n *Service) disconnect(ctx context.Context, connections []nvme.Connection) error {
	ctx, cancel := context.WithTimeout(ctx, disconnectLimit)
	defer cancel()
	for _, connection := range connections {
		if err := n.connector.Disconnect(ctx, connection.SubsystemNQN); err != nil {
			return fmt.Errorf("%w: disconnect %s: %w", failure.ErrConnection, connection.SubsystemNQN, err)
		}
		klog.FromContext(ctx).V(2).Info("Disconnected", "subsystem", connection.SubsystemNQN, "device", connection.Device)
	}
	return nil
}
