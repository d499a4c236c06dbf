package csi

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"
	"k8s.io/mount-utils"
)

// mountsAt gives the mounts at path in the order in which they were made; the last one is what a process sees there.
// A table that can't be read is an error: it proves nothing about what is mounted.
func (n *Node) mountsAt(path string) ([]mount.MountInfo, error) {
	path, err := resolved(path)
	if err != nil {
		return nil, err
	}
	table, err := n.kernel.mounts()
	if err != nil {
		return nil, fmt.Errorf("read the mount table: %w", err)
	}
	return slices.DeleteFunc(table, func(m mount.MountInfo) bool { return m.MountPoint != path }), nil
}

// mountsOf gives every mount that shows the device: as a filesystem, or its node.
func (n *Node) mountsOf(device deviceNumber) ([]mount.MountInfo, error) {
	table, err := n.kernel.mounts()
	if err != nil {
		return nil, fmt.Errorf("read the mount table: %w", err)
	}
	var found []mount.MountInfo
	for _, m := range table {
		shown, err := n.shownBy(m)
		if err != nil {
			return nil, err
		}
		if shown == device {
			found = append(found, m)
		}
	}
	return found, nil
}

// shownBy gives the device that a mount shows: the one that a filesystem is on, or the one whose node is mounted, since
// that is how raw block volumes are published. What is neither gives the number of no block device.
func (n *Node) shownBy(m mount.MountInfo) (deviceNumber, error) {
	if !isNode(m) {
		return deviceNumber(unix.Mkdev(uint32(m.Major), uint32(m.Minor))), nil //nolint:gosec // the kernel's numbers have 32 bits
	}
	number, err := n.kernel.number(m.MountPoint)
	if errors.Is(err, errNoDevice) || errors.Is(err, os.ErrNotExist) {
		return 0, nil // another file of /dev, as containers have them, or nothing that a path leads to
	}
	return number, err
}

// isNode tells whether a mount may be one of a single device node; asking the node for its number is no I/O then, since
// it lives in memory.
func isNode(m mount.MountInfo) bool {
	return (m.FsType == "devtmpfs" || m.FsType == "tmpfs") && m.Root != "/"
}

// readOnly tells whether a mount was asked to be read only; the filesystem below may have become so by itself.
func readOnly(m mount.MountInfo) bool { return slices.Contains(m.MountOptions, "ro") }

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
		if err := n.mounter.Unmount(m.MountPoint); err != nil {
			return fmt.Errorf("unmount %s: %w", path, err)
		}
	}
	left, err := n.mountsAt(path)
	if err != nil {
		return err
	}
	if len(left) > 0 {
		return fmt.Errorf("unmount %s: %s is %w", path, left[0].Source, errInUse)
	}
	klog.FromContext(ctx).V(2).Info("Unmounted", "path", path, "device", mounts[len(mounts)-1].Source)
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

// makeMountFile makes the empty file at path that a device's node is mounted on, if there is none.
func makeMountFile(path string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600) //nolint:gosec // the caller names the path
	if err == nil {
		return file.Close()
	}
	if info, look := os.Lstat(path); errors.Is(err, os.ErrExist) && look == nil && isEmptyFile(info) {
		return nil
	}
	return fmt.Errorf("make the mount point: %w", err)
}

func isEmptyFile(info os.FileInfo) bool { return info.Mode().IsRegular() && info.Size() == 0 }

// removeMountPoint removes the directory or file at path, which must be empty: what is in it isn't ours.
func removeMountPoint(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("remove the mount point: %w", err)
	case info.IsDir():
		err = unix.Rmdir(path)
	case isEmptyFile(info):
		err = unix.Unlink(path)
	default:
		err = errors.New("it is neither a directory nor an empty file")
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the mount point %s (nothing in it is ever deleted; look what is there): %w", path, err)
	}
	return nil
}
