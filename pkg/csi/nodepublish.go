package csi

import (
	"context"
	"errors"
	"fmt"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"k8s.io/klog/v2"
)

// NodePublishVolume shows the staged volume at the target path. Kubelet may call it with a newer epoch than the one that
// is staged and without staging again, so it stages again by itself where that is needed; it never formats.
func (n *Node) NodePublishVolume(ctx context.Context, request *csi.NodePublishVolumeRequest) (*csi.NodePublishVolumeResponse, error) {
	path, err := checkedPath("target_path", request.GetTargetPath())
	if err != nil {
		return nil, err
	}
	s, err := n.stagingOf(request, errNotStaged)
	if err != nil {
		return nil, err
	}
	if within(s.path, path) || within(path, s.path) {
		return nil, &invalidError{field: "target_path", want: "a path apart from staging_target_path"}
	}
	p := publication{staging: s, path: path, readOnly: request.GetReadonly() || s.use.readOnly}
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

func (n *Node) publish(ctx context.Context, p publication) error {
	live, err := n.reach(ctx, p.staging, p.path)
	if err != nil {
		return err
	}
	defer live.release(ctx)
	if err := n.restage(ctx, live, p.staging); err != nil {
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
		return n.bind(ctx, live.path, p)
	}
	return n.bind(ctx, p.staging.path, p)
}

func (n *Node) isPublished(p publication) (bool, error) {
	mounts, err := n.mountsAt(p.path)
	if err != nil || len(mounts) == 0 {
		return false, err
	}
	if readOnly := readOnly(mounts[len(mounts)-1]); readOnly != p.readOnly {
		return false, fmt.Errorf("%w: %s is mounted read-only=%t at %s, read-only=%t was asked for", errIncompatible, p.staging.volume, readOnly, p.path, p.readOnly)
	}
	return true, nil
}

// checkSingle keeps a volume that one pod only may write from being published a second time. For SINGLE_NODE_WRITER CSI
// suggests the same, but older kubelets use that for ReadWriteOnce, where two pods of one node are as usual.
func (n *Node) checkSingle(live device, p publication) error {
	if !p.staging.use.single {
		return nil
	}
	mounts, err := n.mountsOf(live.number)
	if err != nil {
		return err
	}
	staged, err := resolved(p.staging.path)
	if err != nil {
		return err
	}
	for _, m := range mounts {
		if m.MountPoint != staged {
			return fmt.Errorf("%w: %s is for one pod only (ReadWriteOncePod), and published at %s", errInUse, p.staging.volume, m.MountPoint)
		}
	}
	return nil
}

func (n *Node) bind(ctx context.Context, source string, p publication) error {
	makePoint := makeMountPoint
	if p.staging.use.block {
		makePoint = makeMountFile
	}
	if err := makePoint(p.path); err != nil {
		return err
	}
	options := []string{"bind"}
	if p.readOnly {
		options = append(options, "ro")
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("publish at %s: %w", p.path, err)
	}
	if err := n.mounter.Mount(source, p.path, "", options); err != nil {
		// Read-only takes two steps. What the first one left must not be taken for a finished publication later.
		return fmt.Errorf("publish at %s: %w", p.path, errors.Join(err, n.unmount(ctx, p.path)))
	}
	klog.FromContext(ctx).V(2).Info("Published", "path", p.path, "readOnly", p.readOnly)
	return nil
}

// NodeUnpublishVolume takes away the mount at the target path and the empty directory or file below it, nothing else.
func (n *Node) NodeUnpublishVolume(ctx context.Context, request *csi.NodeUnpublishVolumeRequest) (*csi.NodeUnpublishVolumeResponse, error) {
	path, err := checkRemoval(request.GetVolumeId(), "target_path", request.GetTargetPath())
	if err != nil {
		return nil, err
	}
	err = n.whileLocked(ctx, request.GetVolumeId(), func(ctx context.Context) error {
		if err := n.unmount(ctx, path); err != nil {
			return err
		}
		return removeMountPoint(path)
	})
	if err != nil {
		return nil, err
	}
	return &csi.NodeUnpublishVolumeResponse{}, nil
}
