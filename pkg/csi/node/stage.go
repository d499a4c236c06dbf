package node

import (
	"context"
	"fmt"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"k8s.io/klog/v2"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/node/host"
)

// NodeStageVolume connects the volume, makes its filesystem if the device is proven blank, and mounts it at the staging
// path. It is the only call that ever formats.
func (n *Service) NodeStageVolume(ctx context.Context, request *csi.NodeStageVolumeRequest) (*csi.NodeStageVolumeResponse, error) {
	s, err := n.stagingOf(request, &failure.InvalidError{Field: "staging_target_path", Want: "one"})
	if err != nil {
		return nil, err
	}
	err = n.whileLocked(ctx, request.GetVolumeId(), func(ctx context.Context) error { return n.stage(ctx, s) })
	if err != nil {
		return nil, err
	}
	return &csi.NodeStageVolumeResponse{}, nil
}

func (n *Service) stage(ctx context.Context, s staging) error {
	live, err := n.reach(ctx, s)
	if err != nil {
		return err
	}
	defer live.Close(ctx)
	return n.stageOn(ctx, live, s, func() error { return n.host.Format(ctx, live.Path, s.use.Filesystem) })
}

// stageOn stages the volume on its device. prepare is called before a filesystem is mounted.
func (n *Service) stageOn(ctx context.Context, live host.Device, s staging, prepare func() error) error {
	if err := n.checkUse(live, s); err != nil {
		return err
	}
	if s.use.block {
		return n.setWritable(live, s.use)
	}
	staged, err := n.isStaged(s)
	if err != nil {
		return err
	}
	if !staged {
		if err := prepare(); err != nil {
			return err
		}
		if err := n.host.Mount(ctx, live, s.path, s.use.Filesystem); err != nil {
			return err
		}
		klog.FromContext(ctx).V(2).Info("Staged", "path", s.path, "device", live.Path, "subsystem", s.target.SubsystemNQN)
	}
	n.growStaged(ctx, live, s)
	return nil
}

// growStaged grows the staged filesystem to its device, unless it is to be read only. If that fails, the volume is usable
// all the same and only smaller. NodeExpandVolume, which kubelet calls when a size was asked for, returns the reason.
func (n *Service) growStaged(ctx context.Context, live host.Device, s staging) {
	if s.use.ReadOnly {
		return
	}
	if err := n.host.Grow(ctx, live.Path, s.path); err != nil {
		klog.FromContext(ctx).Error(err, "The staged filesystem stays smaller than its device", "device", live.Path)
	}
}

// setWritable makes a raw block device read only or writable for everybody who opens it. It sets both, so that the choice
// of an earlier stage doesn't remain.
func (n *Service) setWritable(live host.Device, wanted use) error {
	set := n.host.Unprotect
	if wanted.ReadOnly {
		set = n.host.Protect
	}
	if err := set(live.Path); err != nil {
		return fmt.Errorf("stage: %w", err)
	}
	return nil
}

// checkUse refuses to use a device as filesystem and as raw block device at once: writing the latter destroys the former.
func (n *Service) checkUse(live host.Device, s staging) error {
	mounts, err := n.host.MountsOf(live.Number)
	if err != nil {
		return err
	}
	for _, m := range mounts {
		if host.IsDeviceNode(m) != s.use.block {
			return fmt.Errorf("%w: %s is in use at %s as %s", failure.ErrIncompatible, s.id, m.MountPoint, m.FsType)
		}
	}
	return nil
}

// isStaged reports whether the staging path is mounted; reach has left nothing but the live host.Device there.
func (n *Service) isStaged(s staging) (bool, error) {
	mounts, err := n.host.MountsAt(s.path)
	if err != nil || len(mounts) == 0 {
		return false, err
	}
	top := mounts[len(mounts)-1]
	if top.FsType != s.use.Kind || host.ReadOnly(top) != s.use.ReadOnly {
		return false, fmt.Errorf("%w: %s is staged as %s, read-only=%t; %s, read-only=%t was asked for", failure.ErrIncompatible, s.id, top.FsType, host.ReadOnly(top), s.use.Kind, s.use.ReadOnly)
	}
	return true, nil
}
