package node

import (
	"context"
	"fmt"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"k8s.io/klog/v2"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/node/host"
)

// NodePublishVolume mounts the staged volume at the target path too. Kubelet may publish a newer epoch than the staged
// one without staging it first, so this call stages where that is needed. It never formats.
func (n *Service) NodePublishVolume(ctx context.Context, request *csi.NodePublishVolumeRequest) (*csi.NodePublishVolumeResponse, error) {
	path, err := cleanPath("target_path", request.GetTargetPath())
	if err != nil {
		return nil, err
	}
	s, err := n.parseStaging(request, failure.ErrNotStaged)
	if err != nil {
		return nil, err
	}
	if host.Within(s.path, path) || host.Within(path, s.path) {
		return nil, &failure.InvalidError{Field: "target_path", Want: "a path apart from staging_target_path"}
	}
	p := publication{staging: s, path: path, readOnly: request.GetReadonly() || s.use.ReadOnly}
	return run(ctx, &n.changes, request.GetVolumeId(), func(ctx context.Context) (*csi.NodePublishVolumeResponse, error) {
		return &csi.NodePublishVolumeResponse{}, n.publish(ctx, p)
	})
}

// publication is a staged volume, and the path where it is to be mounted too.
type publication struct {
	staging  staging
	path     string
	readOnly bool
}

func (n *Service) publish(ctx context.Context, p publication) error {
	if err := n.host.CheckMountPoints(append(p.staging.mountPoints(), p.path)...); err != nil {
		return err
	}
	live, err := n.connectVolume(ctx, p.staging, p.path)
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
	if err := n.checkSinglePod(live, p); err != nil {
		return err
	}
	if p.staging.use.block {
		return n.bind(ctx, live.Path, p)
	}
	return n.bind(ctx, p.staging.path, p)
}

// isPublished reports whether the volume is mounted at the target path, where connectVolume left only the live device.
// It returns failure.ErrIncompatible if it is mounted in another way.
func (n *Service) isPublished(p publication) (bool, error) {
	top, err := n.host.TopMountAt(p.path)
	if err != nil || top == nil {
		return false, err
	}
	if readOnly := host.ReadOnly(*top); readOnly != p.readOnly {
		return false, fmt.Errorf("%w: %s is mounted read-only=%t at %s, read-only=%t was asked for", failure.ErrIncompatible, p.staging.id, readOnly, p.path, p.readOnly)
	}
	return true, nil
}

// checkSinglePod returns failure.ErrInUse if the volume is for one pod only, and is published already. CSI suggests the
// same for SINGLE_NODE_WRITER. But older kubelets use that mode for ReadWriteOnce, which two pods of one node may
// share.
func (n *Service) checkSinglePod(live host.Device, p publication) error {
	if !p.staging.use.singlePod {
		return nil
	}
	published, err := n.host.MountedElsewhere(live.Number, p.staging.path)
	if err == nil && published != "" {
		err = fmt.Errorf("%w: %s is for one pod only (ReadWriteOncePod), and published at %s", failure.ErrInUse, p.staging.id, published)
	}
	return err
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
