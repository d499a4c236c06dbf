package csi

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"k8s.io/klog/v2"
	"k8s.io/mount-utils"
)

// mountsAt gives the mounts at path in the order in which they were made; the last one is what a process sees there.
// A table that can't be read is an error: it proves nothing about what is mounted.
func (n *Node) mountsAt(path string) ([]mount.MountPoint, error) {
	path, err := resolved(path)
	if err != nil {
		return nil, err
	}
	return n.mountsWhere(func(m mount.MountPoint) bool { return m.Path == path })
}

// mountsOf gives every mount of a block device.
func (n *Node) mountsOf(device string) ([]mount.MountPoint, error) {
	return n.mountsWhere(func(m mount.MountPoint) bool { return m.Device == device })
}

func (n *Node) mountsWhere(matches func(mount.MountPoint) bool) ([]mount.MountPoint, error) {
	table, err := n.mounter.List()
	if err != nil {
		return nil, fmt.Errorf("read the mount table: %w", err)
	}
	var found []mount.MountPoint
	for _, m := range table {
		if matches(m) {
			found = append(found, m)
		}
	}
	return found, nil
}

// resolved gives path as the mount table has it, with symbolic links resolved. Its last element is taken as it is:
// looking at it would touch the filesystem that is mounted there, which may be dead.
func resolved(path string) (string, error) {
	parent, err := filepath.EvalSymlinks(filepath.Dir(path))
	if errors.Is(err, os.ErrNotExist) {
		return path, nil // nothing can be mounted below what doesn't exist
	}
	if err != nil {
		return "", fmt.Errorf("resolve %s: %w", path, err)
	}
	return filepath.Join(parent, filepath.Base(path)), nil
}

// unmount takes away every mount at path; having none is success.
func (n *Node) unmount(ctx context.Context, path string) error {
	mounts, err := n.mountsAt(path)
	if err != nil || len(mounts) == 0 {
		return err
	}
	for _, m := range mounts {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("unmount %s: %w", path, err)
		}
		if err := n.mounter.Unmount(m.Path); err != nil {
			return fmt.Errorf("unmount %s: %w", path, err)
		}
	}
	left, err := n.mountsAt(path)
	if err != nil {
		return err
	}
	if len(left) > 0 {
		return fmt.Errorf("unmount %s: %s is %w", path, left[0].Device, errInUse)
	}
	klog.FromContext(ctx).V(2).Info("Unmounted", "path", path, "device", mounts[len(mounts)-1].Device)
	return nil
}

// makeMountPoint makes the directory at path, if there is none.
func makeMountPoint(path string) error {
	err := os.Mkdir(path, 0o750)
	if err == nil {
		return nil
	}
	if info, look := os.Lstat(path); errors.Is(err, os.ErrExist) && look == nil && info.IsDir() {
		return nil
	}
	return fmt.Errorf("make the mount point: %w", err)
}

// removeMountPoint removes the directory at path, which must be empty: what is in it isn't ours.
func removeMountPoint(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the mount point (nothing in it is ever deleted): %w", err)
	}
	return nil
}
