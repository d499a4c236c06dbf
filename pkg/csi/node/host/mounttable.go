package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
	"k8s.io/mount-utils"
)

// MountsAt returns the mounts at path in the order in which they were made. The last one is what a process sees there.
// A table that can't be read is an error: it proves nothing about what is mounted.
func (h *Host) MountsAt(path string) ([]mount.MountInfo, error) {
	path, err := Resolve(path)
	if err != nil {
		return nil, err
	}
	table, err := h.Mounts()
	if err != nil {
		return nil, fmt.Errorf("read the mount table: %w", err)
	}
	return slices.DeleteFunc(table, func(m mount.MountInfo) bool { return m.MountPoint != path }), nil
}

// MountsOf returns every mount that shows the device: as a filesystem, or as a device node.
func (h *Host) MountsOf(device DeviceNumber) ([]mount.MountInfo, error) {
	table, err := h.Mounts()
	if err != nil {
		return nil, fmt.Errorf("read the mount table: %w", err)
	}
	var found []mount.MountInfo
	for _, m := range table {
		shown, err := h.DeviceOf(m)
		if err != nil {
			return nil, err
		}
		if shown == device {
			found = append(found, m)
		}
	}
	return found, nil
}

// DeviceOf returns the device that a mount shows. That is the device below a filesystem, or the one whose node is mounted,
// which is how raw block volumes are published. For anything else the number is that of no block device.
func (h *Host) DeviceOf(m mount.MountInfo) (DeviceNumber, error) {
	if !IsDeviceNode(m) {
		return DeviceNumber(unix.Mkdev(uint32(m.Major), uint32(m.Minor))), nil //nolint:gosec // the kernel's numbers have 32 bits
	}
	number, err := h.Number(m.MountPoint)
	if errors.Is(err, ErrNoDevice) || errors.Is(err, os.ErrNotExist) {
		return 0, nil // another file of /dev, as containers have them, or nothing that a path leads to
	}
	return number, err
}

// IsDeviceNode reports whether a mount may be one of a single device node. Such a node lives in memory, so asking for its
// number is no I/O.
func IsDeviceNode(m mount.MountInfo) bool {
	return (m.FsType == "devtmpfs" || m.FsType == "tmpfs") && m.Root != "/"
}

// ReadOnly reports whether a mount was asked to be read only. The filesystem below may also have become so by itself.
func ReadOnly(m mount.MountInfo) bool { return slices.Contains(m.MountOptions, "ro") }

// Resolve returns path as the mount table has it, with symbolic links resolved. The last element is taken as it is:
// looking at it would touch the filesystem that is mounted there, which may be dead.
func Resolve(path string) (string, error) {
	parent, err := filepath.EvalSymlinks(filepath.Dir(path))
	if errors.Is(err, os.ErrNotExist) {
		return path, nil // nothing can be mounted below what doesn't exist
	}
	if err != nil {
		return "", fmt.Errorf("resolve %s: %w", path, err)
	}
	return filepath.Join(parent, filepath.Base(path)), nil
}
