package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"k8s.io/klog/v2"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/node/host"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

// DefaultFlushTimeout is how long unmounting waits for a target that is away. It is longer than a short outage and
// shorter than kubelet's deadline for one call. Writes that are lost after it were never synced, and no pod is there to
// miss them. In return, a node whose storage network is broken stops using the volume.
const DefaultFlushTimeout = 90 * time.Second

// unstaging is the volume of a NodeUnstageVolume request, and where it is staged.
type unstaging struct {
	id rds.VolumeID
	// foreign is the reason why the request's volume ID is none of this driver; nil if it is one.
	foreign error
	path    string
}

// NodeUnstageVolume unmounts the staging path and disconnects every subsystem of the volume, whatever its epoch. It
// disconnects nothing while somebody uses a device of the volume, in whatever mount namespace. It waits for another
// operation on the volume to end.
func (n *Service) NodeUnstageVolume(ctx context.Context, request *csi.NodeUnstageVolumeRequest) (*csi.NodeUnstageVolumeResponse, error) {
	path, err := checkRemoval(request.GetVolumeId(), "staging_target_path", request.GetStagingTargetPath())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	id, foreign := rds.ParseVolumeID(request.GetVolumeId())
	if err := attach.CheckVersion(request.GetVolumeId()); err != nil {
		foreign = err
	}
	u := unstaging{id: id, foreign: foreign, path: path}
	for {
		response, err := run(ctx, &n.changes, request.GetVolumeId(), func(ctx context.Context) (*csi.NodeUnstageVolumeResponse, error) {
			err := n.unstage(ctx, u)
			if err == nil {
				n.unstaged.now()
			}
			return &csi.NodeUnstageVolumeResponse{}, err
		})
		// Staging hangs while its target is away, and keeps the volume locked. It must not do so now that the volume isn't
		// wanted here any more.
		if !errors.Is(err, failure.ErrBusy) ||
			!n.waitFor(ctx, n.changes.Unlocked(request.GetVolumeId()), u, "Still waiting for another operation on the volume") {
			return response, err
		}
	}
}

// errStagedElsewhere says that a volume is staged at a second path, as kubelet does when its way of naming them changes. All
// its staging paths have the same last element, which differs from that of the paths at which pods have volumes. The volume
// is disconnected with the last of them.
var errStagedElsewhere = errors.New("the volume is staged at another path, too")

func (n *Service) unstage(ctx context.Context, u unstaging) error {
	if u.foreign != nil {
		// The PersistentVolume was edited, or is one that v0.x made. Its pod must be able to end all the same, and no connection
		// that this driver made belongs to this ID.
		klog.FromContext(ctx).Error(u.foreign, "Unmounting without disconnecting: the volume ID isn't ours", "path", u.path)
		return n.host.Unmount(ctx, u.path)
	}
	connections, err := n.unusedConnections(ctx, u)
	if errors.Is(err, errStagedElsewhere) {
		klog.FromContext(ctx).Info("Unmounting without disconnecting: the volume is staged at another path, too", "path", u.path, "reason", err.Error())
		return n.host.Unmount(ctx, u.path)
	}
	if err != nil {
		return err
	}
	reserved, err := n.flush(ctx, u)
	if err != nil {
		return err
	}
	// Until it is disconnected, nobody can mount it.
	defer reserved.end()
	// Removed before the volume is disconnected, so that it isn't reconnected.
	n.staged.remove(u.id)
	return n.disconnect(context.WithoutCancel(ctx), connections)
}

// flush writes what is in memory, unmounts the staging path, and reserves the devices, which nobody may use any more.
// While the target is connected, flush waits as long as that takes, even after ctx ended; the volume stays locked
// meanwhile. While the target is away, writing would never end. So after flushTimeout the connections are deleted: the
// writes fail, and unmounting ends.
func (n *Service) flush(ctx context.Context, u unstaging) (reserved reservation, err error) {
	ctx = context.WithoutCancel(ctx)
	flushed := make(chan struct{})
	go func() {
		defer close(flushed)
		err = failure.Recover(ctx, func() error {
			if err := n.syncStaged(ctx, u); err != nil {
				return err
			}
			if err := n.host.Unmount(ctx, u.path); err != nil {
				return err
			}
			reserved, err = n.reserve(ctx, u)
			return err
		})
	}()
	n.waitFor(ctx, flushed, u, "Still unmounting")
	return reserved, err
}

// waitFor waits until done is closed, and reports whether it was before ctx ended. Each time flushTimeout is over, it
// disconnects the volume if the target is away, because the operation that is waited for may hang on it.
func (n *Service) waitFor(ctx context.Context, done <-chan struct{}, u unstaging, stillWaiting string) bool {
	patience := time.NewTicker(n.flushTimeout)
	defer patience.Stop()
	for {
		select {
		case <-done:
			return true
		case <-ctx.Done():
			return false
		case <-patience.C:
			if err := n.disconnectIfTargetAway(ctx, u); err != nil {
				klog.FromContext(ctx).Error(err, stillWaiting, "path", u.path)
			}
		}
	}
}

// disconnectIfTargetAway disconnects the volume. It returns an error instead if the target is connected, or if the
// volume is mounted elsewhere than at the staging path.
func (n *Service) disconnectIfTargetAway(ctx context.Context, u unstaging) error {
	if u.foreign != nil {
		return u.foreign
	}
	connections, err := n.unusedConnections(ctx, u)
	if err != nil {
		return err
	}
	for _, connection := range connections {
		if connection.State == stateLive {
			return fmt.Errorf("%s is connected and may be writing", connection.SubsystemNQN)
		}
	}
	klog.FromContext(ctx).Info("The target is away; disconnecting the volume so that it can be unmounted: what was not yet written is lost", "waited", n.flushTimeout)
	return n.disconnect(ctx, connections)
}

// unusedConnections returns the connections of every epoch of the volume. It returns failure.ErrInUse if one of their
// devices, or a device at the staging path, is mounted elsewhere: a pod may use it.
func (n *Service) unusedConnections(ctx context.Context, u unstaging) ([]nvme.Connection, error) {
	connections, err := n.connections(ctx, u.id)
	if err != nil {
		return nil, err
	}
	devices, err := n.devicesOf(connections, u.path)
	if err != nil {
		return nil, err
	}
	for device, name := range devices {
		elsewhere, err := n.host.MountedElsewhere(device, u.path)
		if err != nil {
			return nil, err
		}
		if filepath.Base(elsewhere) == filepath.Base(u.path) {
			return nil, fmt.Errorf("%w: %w: %s is mounted at %s", failure.ErrInUse, errStagedElsewhere, name, elsewhere)
		}
		if elsewhere != "" {
			return nil, fmt.Errorf("%w: %s is mounted at %s too; unpublish it there first", failure.ErrInUse, name, elsewhere)
		}
	}
	return connections, nil
}

// byDevice returns those of the connections that have a device, keyed by it.
func (n *Service) byDevice(connections []nvme.Connection) (map[host.DeviceNumber]nvme.Connection, error) {
	devices := map[host.DeviceNumber]nvme.Connection{}
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
		devices[number] = connection
	}
	return devices, nil
}

// devicesOf returns the names of the connections' devices and of those that are mounted at the staging path, which may
// have lost their connection.
func (n *Service) devicesOf(connections []nvme.Connection, stagingPath string) (map[host.DeviceNumber]string, error) {
	byDevice, err := n.byDevice(connections)
	if err != nil {
		return nil, err
	}
	devices := map[host.DeviceNumber]string{}
	for number, connection := range byDevice {
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

// disconnectLimit bounds the disconnection of a volume. The kernel itself stops waiting for a silent target after 60 s.
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
