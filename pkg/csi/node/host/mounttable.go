package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	"k8s.io/mount-utils"
)

// MountsAt returns the mounts at path in the order in which they were made.
func (h *Host) MountsAt(path string) ([]mount.MountInfo, error) {
	path, err := resolve(path)
	if err != nil {
		return nil, err
	}
	table, err := h.Mounts()
	if err != nil {
		return nil, fmt.Errorf("read the mount table: %w", err)
	}
	return slices.DeleteFunc(table, func(m mount.MountInfo) bool { return m.MountPoint != path }), nil
}

// MountsOf returns every mount of the device, as a filesystem or as a device node.
func (h *Host) MountsOf(device DeviceNumber) ([]mount.MountInfo, error) {
	table, err := h.Mounts()
	if err != nil {
		return nil, fmt.Errorf("read the mount table: %w", err)
	}
	return h.mountsIn(table, device)
}

// mountsIn is MountsOf in a mount table that was read.
func (h *Host) mountsIn(table []mount.MountInfo, device DeviceNumber) ([]mount.MountInfo, error) {
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

// TopMountAt returns the mount that a process sees at path, which is the last one made; nil if nothing is mounted
// there.
func (h *Host) TopMountAt(path string) (*mount.MountInfo, error) {
	mounts, err := h.MountsAt(path)
	if err != nil || len(mounts) == 0 {
		return nil, err
	}
	return &mounts[len(mounts)-1], nil
}

// MountedElsewhere returns a mount point of the device other than path; "" if there is none. Where the folder that path is in
// is visible a second time, so is the mount: that is the same one, and it goes with it.
func (h *Host) MountedElsewhere(device DeviceNumber, path string) (string, error) {
	path, err := resolve(path)
	if err != nil {
		return "", err
	}
	table, err := h.Mounts()
	if err != nil {
		return "", fmt.Errorf("read the mount table: %w", err)
	}
	mounts, err := h.mountsIn(table, device)
	if err != nil {
		return "", err
	}
	var here []place
	for _, m := range mounts {
		if m.MountPoint == path {
			here = append(here, placeOf(table, m))
		}
	}
	for _, m := range mounts {
		if m.MountPoint != path && !slices.ContainsFunc(here, placeOf(table, m).is) {
			return m.MountPoint, nil
		}
	}
	return "", nil
}

// place is where a mount lies: on a mount, or on any of a group of mounts that get each other's mounts, and in which
// directory there.
type place struct {
	on        []string
	directory string
}

func placeOf(table []mount.MountInfo, m mount.MountInfo) place {
	at := slices.IndexFunc(table, func(other mount.MountInfo) bool { return other.ID == m.ParentID && other.ID != m.ID })
	if at < 0 {
		return place{directory: m.MountPoint}
	}
	parent := table[at]
	p := place{on: []string{strconv.Itoa(parent.ID)}, directory: filepath.Join(parent.Root, strings.TrimPrefix(m.MountPoint, parent.MountPoint))}
	for _, field := range parent.OptionalFields {
		// A mount is a peer of its group (shared), or gets the mounts of another group (master).
		if kind, group, _ := strings.Cut(field, ":"); kind == "shared" || kind == "master" {
			p.on = append(p.on, "group "+group)
		}
	}
	return p
}

// is reports whether two places are one.
func (p place) is(other place) bool {
	return p.directory == other.directory && slices.ContainsFunc(p.on, func(on string) bool { return slices.Contains(other.on, on) })
}

// DeviceOf returns the device of a mount: the one of a filesystem, or the one whose node is mounted, as for a published
// raw block volume. Otherwise the number is that of no block device.
func (h *Host) DeviceOf(m mount.MountInfo) (DeviceNumber, error) {
	if !IsDeviceNode(m) {
		return filesystemDevice(m), nil
	}
	number, err := h.Number(m.MountPoint)
	if errors.Is(err, ErrNoDevice) || errors.Is(err, os.ErrNotExist) {
		return 0, nil // another file of /dev, as containers have them, or a mount that no path leads to
	}
	return number, err
}

// filesystemDevice returns the device of the filesystem that a mount shows.
func filesystemDevice(m mount.MountInfo) DeviceNumber {
	return DeviceNumber(unix.Mkdev(uint32(m.Major), uint32(m.Minor))) //nolint:gosec // the kernel's numbers have 32 bits
}

// IsDeviceNode reports whether a mount may be one of a single device node. Such a node is in memory, so reading its
// number needs no I/O.
func IsDeviceNode(m mount.MountInfo) bool {
	return (m.FsType == "devtmpfs" || m.FsType == "tmpfs") && m.Root != "/"
}

// ReadOnly reports whether a mount was made read only. A filesystem that became read only after an error isn't meant.
func ReadOnly(m mount.MountInfo) bool { return slices.Contains(m.MountOptions, "ro") }

// resolve returns path as the mount table has it, with symbolic links resolved. It doesn't look at the last element:
// that would touch the filesystem that is mounted there, whose device may be dead.
func resolve(path string) (string, error) {
	parent, err := filepath.EvalSymlinks(filepath.Dir(path))
	if errors.Is(err, os.ErrNotExist) {
		return path, nil // nothing can be mounted in a directory that doesn't exist
	}
	if err != nil {
		return "", fmt.Errorf("resolve %s: %w", path, err)
	}
	return filepath.Join(parent, filepath.Base(path)), nil
}
