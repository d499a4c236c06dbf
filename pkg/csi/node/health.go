package node

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"k8s.io/klog/v2"
	"k8s.io/mount-utils"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/node/host"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/volumehealth"
)

// NodeGetVolumeHealth returns what keeps pods of this node from using the volume, as far as the kernel knows.
func (n *Service) NodeGetVolumeHealth(ctx context.Context, request *csi.NodeGetVolumeHealthRequest) (*csi.NodeGetVolumeHealthResponse, error) {
	if err := checkVolumeID(request.GetVolumeId()); err != nil {
		return nil, err
	}
	var paths []string
	for _, given := range []struct{ field, path string }{
		{"volume_publish_path", request.GetVolumePublishPath()}, {"staging_target_path", request.GetStagingTargetPath()},
	} {
		if err := checkOptionalPath(given.field, given.path); err != nil {
			return nil, err
		}
		if given.path != "" {
			paths = append(paths, filepath.Clean(given.path))
		}
	}
	id, err := rds.ParseVolumeID(request.GetVolumeId())
	if err != nil {
		return nil, fmt.Errorf("%w: volume_id: %w", failure.ErrNotHere, err)
	}
	return run(ctx, &n.looks, request.GetVolumeId(), func(ctx context.Context) (*csi.NodeGetVolumeHealthResponse, error) {
		found, err := n.diagnose(ctx, id, paths)
		return &csi.NodeGetVolumeHealthResponse{VolumeHealth: &csi.VolumeHealth{VolumeId: request.GetVolumeId(), HealthStatuses: found}}, err
	})
}

// diagnose returns what is wrong with a volume that is, or should be, mounted at these paths.
func (n *Service) diagnose(ctx context.Context, id rds.VolumeID, paths []string) (healthEntries, error) {
	best, mounts, err := n.look(ctx, id, paths)
	if err != nil {
		return nil, err
	}
	found := connectionHealth(best)
	for _, m := range mounts {
		entries, err := n.mountHealth(m, best)
		if err != nil {
			return nil, err
		}
		found = append(found, entries...)
	}
	return uniqueByReason(found), nil
}

// look returns the best connection of the volume, and the mounts on top at these paths. It also counts a lost
// connection, and reconnects it in the background. It returns failure.ErrNotHere if this node knows nothing of the
// volume.
func (n *Service) look(ctx context.Context, id rds.VolumeID, paths []string) (best nvme.Connection, mounts []mount.MountInfo, err error) {
	connections, err := n.connections(ctx, id)
	if err != nil {
		return best, nil, err
	}
	for _, path := range paths {
		top, err := n.host.TopMountAt(path)
		if err != nil {
			return best, nil, err
		}
		if top != nil {
			mounts = append(mounts, *top)
		}
	}
	_, staged := n.staged.target(id)
	best = bestConnection(connections)
	if !staged && best.State == "" && len(mounts) == 0 {
		return best, nil, fmt.Errorf("%w: %s is neither staged nor connected", failure.ErrNotHere, id)
	}
	if best.State == "" {
		n.countLoss(ctx, id)
		if staged {
			n.reconnect(ctx, id)
		}
	}
	return best, mounts, nil
}

// countLoss counts and logs a lost connection, once each time it is lost.
func (n *Service) countLoss(ctx context.Context, id rds.VolumeID) {
	if n.staged.markLost(id) {
		n.observer.CountConnectionLost()
		klog.FromContext(ctx).Info("The kernel gave up the connection of a staged volume", "volume", id)
	}
}

// bestConnection returns the connection that is live, or else any of them. Its State is empty if there is none.
func bestConnection(connections []nvme.Connection) nvme.Connection {
	var best nvme.Connection
	for _, connection := range connections {
		if best.State == "" || connection.State == stateLive && best.State != stateLive {
			best = connection
		}
	}
	return best
}

type healthEntries = []*csi.VolumeHealth_VolumeHealthEntry

func entry(status csi.VolumeHealthErrorType, reason, message string) healthEntries {
	return healthEntries{{Status: status, Reason: reason, Message: message}}
}

func connectionHealth(best nvme.Connection) healthEntries {
	switch {
	case best.State == "":
		return entry(csi.VolumeHealthErrorType_INACCESSIBLE, volumehealth.ConnectionLost,
			"The kernel gave the connection up: the target refused it, or was away for too long. Delete the pod: it is connected again, at the latest, when it is published again, and gets the new device.")
	case best.State != stateLive:
		return entry(csi.VolumeHealthErrorType_INACCESSIBLE, volumehealth.ConnectionBroken,
			fmt.Sprintf("The connection to %s is %q, and I/O waits for it. Look at the appliance and at the storage network of this node.", best.SubsystemNQN, best.State))
	default:
		return nil
	}
}

// mountHealth returns what is wrong with a mount of a volume, whose best connection is given. A filesystem is only asked
// whether it works if its connection does, so that the question doesn't hang.
func (n *Service) mountHealth(m mount.MountInfo, best nvme.Connection) (healthEntries, error) {
	if best.Device == "" {
		return nil, nil
	}
	live, err := n.host.Number(best.Device)
	if err != nil {
		return nil, fmt.Errorf("%w: look at the device of %s: %w", failure.ErrConnection, best.SubsystemNQN, err)
	}
	shown, err := n.host.DeviceOf(m)
	if err != nil {
		return nil, err
	}
	switch {
	case shown != live:
		return entry(csi.VolumeHealthErrorType_INACCESSIBLE, volumehealth.DeviceReplaced,
			"The mounted device was given up; the volume has another one by now. Delete the pod, so that it gets the new device."), nil
	case best.State != stateLive:
		return nil, nil
	}
	err = n.host.Failed(m)
	switch {
	case errors.Is(err, host.ErrShutDown):
		return entry(csi.VolumeHealthErrorType_INACCESSIBLE, volumehealth.FilesystemShutDown,
			"The filesystem was shut down after an error. Look at the kernel log of this node, then delete the pod; it is checked when it is mounted again."), nil
	case errors.Is(err, host.ErrUnwritable):
		return entry(csi.VolumeHealthErrorType_DEGRADED, volumehealth.FilesystemReadOnly,
			"The filesystem became read only after an error. Look at the kernel log of this node, then delete the pod; it is checked when it is mounted again."), nil
	}
	return nil, err
}

// uniqueByReason drops entries whose reason is there already: a volume may be mounted at two paths, and CSI forbids
// duplicates.
func uniqueByReason(found healthEntries) healthEntries {
	var unique healthEntries
	for _, entry := range found {
		if !slices.ContainsFunc(unique, func(other *csi.VolumeHealth_VolumeHealthEntry) bool { return other.GetReason() == entry.GetReason() }) {
			unique = append(unique, entry)
		}
	}
	return unique
}
