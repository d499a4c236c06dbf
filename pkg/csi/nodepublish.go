package csi

import (
	"context"
	"errors"
	"fmt"
	"slices"

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
	p := publication{staging: s, path: path, readOnly: request.GetReadonly() || s.filesystem.readOnly}
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
	device, err := n.reach(ctx, p.staging)
	if err != nil {
		return err
	}
	staged, err := n.isStaged(p.staging)
	if err != nil {
		return err
	}
	if !staged {
		if err := n.mountStaged(ctx, device, p.staging); err != nil {
			return err
		}
	}
	if err := n.detachDead(ctx, p.path, device); err != nil {
		return err
	}
	published, err := n.isPublished(p)
	if err != nil || published {
		return err
	}
	return n.bind(ctx, p)
}

func (n *Node) isPublished(p publication) (bool, error) {
	mounts, err := n.mountsAt(p.path)
	if err != nil || len(mounts) == 0 {
		return false, err
	}
	if readOnly := slices.Contains(mounts[len(mounts)-1].Opts, "ro"); readOnly != p.readOnly {
		return false, fmt.Errorf("%w: %s is mounted read-only=%t at %s, read-only=%t was asked for", errIncompatible, p.staging.volume, readOnly, p.path, p.readOnly)
	}
	return true, nil
}

func (n *Node) bind(ctx context.Context, p publication) error {
	if err := makeMountPoint(p.path); err != nil {
		return err
	}
	options := []string{"bind"}
	if p.readOnly {
		options = append(options, "ro")
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("publish at %s: %w", p.path, err)
	}
	if err := n.mounter.Mount(p.staging.path, p.path, "", options); err != nil {
		// Read-only takes two steps. What the first one left must not be taken for a finished publication later.
		return fmt.Errorf("publish at %s: %w", p.path, errors.Join(err, n.unmount(ctx, p.path)))
	}
	klog.FromContext(ctx).V(2).Info("Published", "path", p.path, "readOnly", p.readOnly)
	return nil
}

// NodeUnpublishVolume takes away the mount at the target path and the empty directory below it, nothing else.
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
