package node

import (
	"context"
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
)

// The reasons that NodeGetVolumeHealth gives. They are read by machines: never change one.
const (
	reasonLost       = "ConnectionLost"
	reasonBroken     = "ConnectionBroken"
	reasonDead       = "DeviceReplaced"
	reasonShutDown   = "FilesystemShutDown"
	reasonUnwritable = "FilesystemReadOnly"
)

// NodeGetVolumeHealth tells what keeps pods of this node from using the volume, as far as the kernel knows: it asks
// nobody else.
func (n *Service) NodeGetVolumeHealth(ctx context.Context, request *csi.NodeGetVolumeHealthRequest) (*csi.NodeGetVolumeHealthResponse, error) {
	if err := checkVolumeID(request.GetVolumeId()); err != nil {
		return nil, err
	}
	var paths []string
	for field, path := range map[string]string{"volume_publish_path": request.GetVolumePublishPath(), "staging_target_path": request.GetStagingTargetPath()} {
		if err := checkOptionalPath(field, path); err != nil {
			return nil, err
		}
		if path != "" {
			paths = append(paths, filepath.Clean(path))
		}
	}
	id, err := rds.ParseVolumeID(request.GetVolumeId())
	if err != nil {
		return nil, fmt.Errorf("%w: volume_id: %w", failure.ErrNotHere, err)
	}
	health := &csi.VolumeHealth{VolumeId: request.GetVolumeId()}
	err = n.look(ctx, request.GetVolumeId(), func(ctx context.Context) (err error) {
		health.HealthStatuses, err = n.diagnose(ctx, id, paths)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &csi.NodeGetVolumeHealthResponse{VolumeHealth: health}, nil
}

// diagnose says what is wrong with a volume that is, or should be, at these paths. A lost connection is also counted and
// restored. It returns failure.ErrNotHere if this node knows nothing of the volume.
func (n *Service) diagnose(ctx context.Context, id rds.VolumeID, paths []string) ([]*csi.VolumeHealth_VolumeHealthEntry, error) {
	connections, err := n.connections(ctx, id)
	if err != nil {
		return nil, err
	}
	var mounts []mount.MountInfo
	for _, path := range paths {
		found, err := n.host.MountsAt(path)
		if err != nil {
			return nil, err
		}
		if last := len(found) - 1; last >= 0 {
			mounts = append(mounts, found[last])
		}
	}
	_, staged := n.staged.target(id)
	best := bestOf(connections)
	if !staged && best.State == "" && len(mounts) == 0 {
		return nil, fmt.Errorf("%w: %s is neither staged nor connected", failure.ErrNotHere, id)
	}
	found := wrongWithConnection(best)
	if best.State == "" {
		n.noteLoss(ctx, id)
	}
	for _, m := range mounts {
		entry, err := n.wrongWithMount(m, best)
		if err != nil {
			return nil, err
		}
		found = append(found, entry...)
	}
	return unrepeated(found), nil
}

// noteLoss says once that a connection is gone, and tries each time to restore it.
func (n *Service) noteLoss(ctx context.Context, id rds.VolumeID) {
	if n.staged.markLost(id) {
		n.observer.CountConnectionLost()
		klog.FromContext(ctx).Info("The kernel gave the connection of a staged volume up", "volume", id)
	}
	if _, known := n.staged.target(id); known {
		n.reconnect(ctx, id)
	}
}

// bestOf gives the connection that is most alive; one without a state stands for none.
func bestOf(connections []nvme.Connection) nvme.Connection {
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

func wrongWithConnection(best nvme.Connection) healthEntries {
	switch {
	case best.State == "":
		return entry(csi.VolumeHealthErrorType_INACCESSIBLE, reasonLost,
			"The kernel gave the connection up: the target refused it, or was away for too long. Delete the pod: it is connected again, at the latest, when it is published again, and gets the new device.")
	case best.State != stateLive:
		return entry(csi.VolumeHealthErrorType_INACCESSIBLE, reasonBroken,
			fmt.Sprintf("The connection to %s is %q, and I/O waits for it. Look at the appliance and at the storage network of this node.", best.SubsystemNQN, best.State))
	default:
		return nil
	}
}

// wrongWithMount judges a mount whose volume is reached by the given connection, if by any.
func (n *Service) wrongWithMount(m mount.MountInfo, best nvme.Connection) (healthEntries, error) {
	var found healthEntries
	if best.Device != "" {
		live, err := n.host.Number(best.Device)
		if err != nil {
			return nil, fmt.Errorf("%w: look at the device of %s: %w", failure.ErrConnection, best.SubsystemNQN, err)
		}
		shown, err := n.host.DeviceOf(m)
		if err != nil {
			return nil, err
		}
		if shown != live {
			found = append(found, entry(csi.VolumeHealthErrorType_INACCESSIBLE, reasonDead,
				"What is mounted is a device that was given up; the volume has another one by now. Delete the pod, so that it gets the new device.")...)
		}
	}
	failed := slices.Contains(m.SuperOptions, "ro") || slices.Contains(m.SuperOptions, "emergency_ro")
	switch {
	case host.IsDeviceNode(m):
	case slices.Contains(m.SuperOptions, "shutdown"):
		found = append(found, entry(csi.VolumeHealthErrorType_INACCESSIBLE, reasonShutDown,
			"The filesystem was shut down after an error. Look at the kernel log of this node, then delete the pod; it is checked when it is mounted again.")...)
	case failed && !host.ReadOnly(m):
		found = append(found, entry(csi.VolumeHealthErrorType_DEGRADED, reasonUnwritable,
			"The filesystem became read only after an error. Look at the kernel log of this node, then delete the pod; it is checked when it is mounted again.")...)
	}
	return found, nil
}

// unrepeated drops entries that say the same again, as CSI demands: a volume is mounted in two places.
func unrepeated(found healthEntries) healthEntries {
	var unique healthEntries
	for _, entry := range found {
		if !slices.ContainsFunc(unique, func(other *csi.VolumeHealth_VolumeHealthEntry) bool { return other.GetReason() == entry.GetReason() }) {
			unique = append(unique, entry)
		}
	}
	return unique
}
