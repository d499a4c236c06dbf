package node

import (
	"context"
	"fmt"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"k8s.io/klog/v2"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/node/host"
)

// NodeStageVolume connects the volume, formats the device if it is proven blank, and mounts it at the staging path. No
// other call ever formats.
func (n *Service) NodeStageVolume(ctx context.Context, request *csi.NodeStageVolumeRequest) (*csi.NodeStageVolumeResponse, error) {
	s, err := n.parseStaging(request, &failure.InvalidError{Field: "staging_target_path", Want: "one"})
	if err != nil {
		return nil, err
	}
	return run(ctx, &n.changes, request.GetVolumeId(), func(ctx context.Context) (*csi.NodeStageVolumeResponse, error) {
		return &csi.NodeStageVolumeResponse{}, n.stage(ctx, s)
	})
}

func (n *Service) stage(ctx context.Context, s staging) error {
	if err := n.host.CheckMountPoints(s.mountPoints()...); err != nil {
		return err
	}
	live, err := n.connectVolume(ctx, s)
	if err != nil {
		return err
	}
	defer live.Close(ctx)
	return n.stageOn(ctx, live, s, func() error { return n.host.Format(ctx, live.Path, s.use.Filesystem) })
}

// mountPoints returns where staging mounts the volume. A raw block volume is only connected.
func (s staging) mountPoints() []string {
	if s.use.block {
		return nil
	}
	return []string{s.path}
}

// stageOn stages the volume, whose device is live. It calls prepare before it mounts a filesystem.
func (n *Service) stageOn(ctx context.Context, live host.Device, s staging, prepare func() error) error {
	if err := n.checkUse(ctx, live, s); err != nil {
		return err
	}
	if !s.use.block {
		if err := n.mountStaged(ctx, live, s, prepare); err != nil {
			return err
		}
		n.growStaged(ctx, live, s)
	}
	// A mount that is read only doesn't stop those who have the device itself. Protection is taken away as well: an earlier
	// stage may have set it.
	return n.writeProtect(live, s.use.ReadOnly)
}

// writeProtect has the kernel refuse every write to the device, or allow it.
func (n *Service) writeProtect(live host.Device, readOnly bool) error {
	if err := n.host.SetReadOnly(live.Path, readOnly); err != nil {
		return fmt.Errorf("stage: %w", err)
	}
	return nil
}

// mountStaged mounts the filesystem at the staging path, unless it is mounted there and works.
func (n *Service) mountStaged(ctx context.Context, live host.Device, s staging, prepare func() error) error {
	staged, err := n.isStaged(s)
	if err != nil {
		return err
	}
	failed, err := n.removeFailed(ctx, live, s)
	if err != nil || staged && !failed {
		return err
	}
	// Mounting writes even to a filesystem that is to be read only: it replays the journal.
	if err := n.writeProtect(live, false); err != nil {
		return err
	}
	if err := prepare(); err != nil {
		return err
	}
	if err := n.host.Mount(ctx, live, s.path, s.use.Filesystem); err != nil {
		return err
	}
	// Somebody may have had it mounted out of sight all the time, and then it still is what failed.
	failed, err = n.removeFailed(ctx, live, s)
	if err == nil && failed {
		err = fmt.Errorf("%w: %s failed as soon as it was mounted; look at the kernel log of this node", failure.ErrDamaged, s.id)
	}
	if err != nil {
		return err
	}
	klog.FromContext(ctx).V(2).Info("Staged", "path", s.path, "device", live.Path, "subsystem", s.target.SubsystemNQN)
	return nil
}

// growStaged grows the staged filesystem to the size of its device, unless it is to be read only. A failure is only
// logged: the volume is usable, and only smaller. If a new size was requested, kubelet calls NodeExpandVolume, which
// returns the error.
func (n *Service) growStaged(ctx context.Context, live host.Device, s staging) {
	if s.use.ReadOnly {
		return
	}
	if err := n.host.Grow(ctx, live.Path, s.path, s.use.Kind); err != nil {
		klog.FromContext(ctx).Error(err, "The staged filesystem stays smaller than its device", "device", live.Path)
	}
}

// checkUse returns failure.ErrIncompatible if the device is mounted as a filesystem and requested as a raw block
// device, or the other way round: writing to the latter would destroy the former. It returns failure.ErrInUse for a raw
// block device that no pod can have yet and that somebody uses.
func (n *Service) checkUse(ctx context.Context, live host.Device, s staging) error {
	mounts, err := n.host.MountsOf(live.Number)
	if err != nil {
		return err
	}
	if s.use.block && len(mounts) == 0 {
		return n.host.CheckUnclaimed(ctx, live)
	}
	for _, m := range mounts {
		if host.IsDeviceNode(m) != s.use.block {
			return fmt.Errorf("%w: %s is in use at %s as %s", failure.ErrIncompatible, s.id, m.MountPoint, m.FsType)
		}
	}
	return nil
}

// isStaged reports whether the volume is mounted at the staging path, where connectVolume left only the live device. It
// returns failure.ErrIncompatible if it is mounted in another way.
func (n *Service) isStaged(s staging) (bool, error) {
	top, err := n.host.TopMountAt(s.path)
	if err != nil || top == nil {
		return false, err
	}
	if top.FsType != s.use.Kind || host.ReadOnly(*top) != s.use.ReadOnly {
		return false, fmt.Errorf("%w: %s is staged as %s, read-only=%t; %s, read-only=%t was asked for", failure.ErrIncompatible, s.id, top.FsType, host.ReadOnly(*top), s.use.Kind, s.use.ReadOnly)
	}
	return true, nil
}
