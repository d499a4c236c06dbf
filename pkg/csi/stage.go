package csi

import (
	"context"
	"fmt"

	"github.com/container-storage-interface/spec/lib/go/csi"
)

// NodeStageVolume connects the volume, makes its filesystem if the device is proven blank, and mounts it at the staging
// path. It is the only call that ever formats.
func (n *Node) NodeStageVolume(ctx context.Context, request *csi.NodeStageVolumeRequest) (*csi.NodeStageVolumeResponse, error) {
	s, err := n.stagingOf(request, &invalidError{field: "staging_target_path", want: "one"})
	if err != nil {
		return nil, err
	}
	err = n.whileLocked(ctx, request.GetVolumeId(), func(ctx context.Context) error { return n.stage(ctx, s) })
	if err != nil {
		return nil, err
	}
	return &csi.NodeStageVolumeResponse{}, nil
}

func (n *Node) stage(ctx context.Context, s staging) error {
	live, err := n.reach(ctx, s)
	if err != nil {
		return err
	}
	defer live.release(ctx)
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
		if err := n.makeFilesystem(ctx, live.path, s.use); err != nil {
			return err
		}
		if err := n.mountStaged(ctx, live, s); err != nil {
			return err
		}
	}
	n.growStaged(ctx, live, s)
	return nil
}

// setWritable makes a raw block device read only, or writable, for everybody who opens it. Setting it both ways, what an
// earlier stage chose doesn't outlive it.
func (n *Node) setWritable(live device, wanted use) error {
	set := n.kernel.unprotect
	if wanted.readOnly {
		set = n.kernel.protect
	}
	if err := set(live.path); err != nil {
		return fmt.Errorf("stage: %w", err)
	}
	return nil
}

// checkUse refuses to use a device as filesystem and as raw block device at once: whoever writes the latter destroys the
// former.
func (n *Node) checkUse(live device, s staging) error {
	mounts, err := n.mountsOf(live.number)
	if err != nil {
		return err
	}
	for _, m := range mounts {
		if isNode(m) != s.use.block {
			return fmt.Errorf("%w: %s is in use at %s as %s", errIncompatible, s.volume, m.MountPoint, m.FsType)
		}
	}
	return nil
}

// isStaged reports whether the staging path is mounted; reach has left nothing but the live device there.
func (n *Node) isStaged(s staging) (bool, error) {
	mounts, err := n.mountsAt(s.path)
	if err != nil || len(mounts) == 0 {
		return false, err
	}
	top := mounts[len(mounts)-1]
	if top.FsType != s.use.kind || readOnly(top) != s.use.readOnly {
		return false, fmt.Errorf("%w: %s is staged as %s, read-only=%t; %s, read-only=%t was asked for", errIncompatible, s.volume, top.FsType, readOnly(top), s.use.kind, s.use.readOnly)
	}
	return true, nil
}
