package node

import (
	"context"
	"fmt"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"k8s.io/klog/v2"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/node/host"
)

// NodePublishVolume shows the staged volume at the target path. Kubelet may call it with a newer epoch than the one that
// is staged and without staging again, so it stages again by itself where that is needed; it never formats.
func (n *Service) NodePublishVolume(ctx context.Context, request *csi.NodePublishVolumeRequest) (*csi.NodePublishVolumeResponse, error) {
	path, err := checkedPath("target_path", request.GetTargetPath())
	if err != nil {
		return nil, err
	}
	s, err := n.stagingOf(request, failure.ErrNotStaged)
	if err != nil {
		return nil, err
	}
	if within(s.path, path) || within(path, s.path) {
		return nil, &failure.InvalidError{Field: "target_path", Want: "a path apart from staging_target_path"}
	}
	p := publication{staging: s, path: path, readOnly: request.GetReadonly() || s.use.ReadOnly}
	err = n.whileLocked(ctx, request.GetVolumeId(), func(ctx context.Context) error { return n.publish(ctx, p) })
	if err != nil {
		return nil, err
	}
	return &csi.NodePublishVolumeResponse{}, nil
}

// publication is a staged volume at one more place.
type publication struct {
	staging  staging
	path     string
	readOnly bool
}

func (n *Service) publish(ctx context.Context, p publication) error {
	live, err := n.reach(ctx, p.staging, p.path)
	if err != nil {
		return err
	}
	defer live.Close(ctx)
	if err := n.stageOn(ctx, live, p.staging, func() error { return nil }); err != nil {
		return err
	}
	published, err := n.isPublished(p)
	if err != nil || published {
		return err
	}
	if err := n.checkSingle(live, p); err != nil {
		return err
	}
	if p.staging.use.block {
		return n.bind(ctx, live.Path, p)
	}
	return n.bind(ctx, p.staging.path, p)
}

func (n *Service) isPublished(p publication) (bool, error) {
	mounts, err := n.host.MountsAt(p.path)
	if err != nil || len(mounts) == 0 {
		return false, err
	}
	if readOnly := host.ReadOnly(mounts[len(mounts)-1]); readOnly != p.readOnly {
		return false, fmt.Errorf("%w: %s is mounted read-only=%t at %s, read-only=%t was asked for", failure.ErrIncompatible, p.staging.id, readOnly, p.path, p.readOnly)
	}
	return true, nil
}

// checkSingle keeps a volume that one pod only may write from being published a second time. For SINGLE_NODE_WRITER CSI
// suggests the same, but older kubelets use that for ReadWriteOnce, where two pods of one node are as usual.
func (n *Service) checkSingle(live host.Device, p publication) error {
	if !p.staging.use.single {
		return nil
	}
	mounts, err := n.host.MountsOf(live.Number)
	if err != nil {
		return err
	}
	staged, err := host.Resolve(p.staging.path)
	if err != nil {
		return err
	}
	for _, m := range mounts {
		if m.MountPoint != staged {
			return fmt.Errorf("%w: %s is for one pod only (ReadWriteOncePod), and published at %s", failure.ErrInUse, p.staging.id, m.MountPoint)
		}
	}
	return nil
}

func (n *Service) bind(ctx context.Context, source string, p publication) error {
	makePoint := host.MakeMountPoint
	if p.staging.use.block {
		makePoint = host.MakeMountFile
	}
	if err := makePoint(p.path); err != nil {
		return err
	}
	var options []string
	if p.readOnly {
		options = append(options, "ro")
	}
	if err := n.host.Bind(ctx, source, p.path, options...); err != nil {
		return err
	}
	klog.FromContext(ctx).V(2).Info("Published", "path", p.path, "readOnly", p.readOnly)
	return nil
}
