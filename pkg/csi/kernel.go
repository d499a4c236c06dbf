package csi

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
	"k8s.io/mount-utils"
)

// mountTable is this process's view of what is mounted.
const mountTable = "/proc/self/mountinfo"

// deviceNumber is major and minor number of a device, as stat(2) and the mount table have it. The kernel gives a number
// to another device only when nothing holds the old one any more, so unlike a name it can be compared.
type deviceNumber uint64

// errNoDevice: there is something, but it isn't a block device.
var errNoDevice = errors.New("not a block device")

// kernel is what the node service asks the kernel by itself; the rest is done by commands.
type kernel interface {
	// mounts is the mount table; of two mounts at one path, the later one lies on top.
	mounts() ([]mount.MountInfo, error)
	// number gives the number of the block device whose node is at path, errNoDevice if something else is there, and
	// os.ErrNotExist if nothing is. A symbolic link is something else.
	number(path string) (deviceNumber, error)
	// open holds the block device at path open until it is closed, and gives its number; errNoDevice if it is something else.
	open(path string) (io.Closer, deviceNumber, error)
	// size of a block device in bytes.
	size(device string) (int64, error)
	// protect keeps everybody from writing the device, also who has it open; unprotect allows it again.
	protect(device string) error
	unprotect(device string) error
	// usage of the filesystem that is mounted at path. It may hang if the device is gone.
	usage(path string) (unix.Statfs_t, error)
}

// linux is the kernel that this process runs on.
type linux struct{}

func (linux) mounts() ([]mount.MountInfo, error) { return mount.ParseMountInfo(mountTable) }

func (linux) number(path string) (deviceNumber, error) {
	var stat unix.Stat_t
	if err := unix.Lstat(path, &stat); err != nil {
		return 0, &os.PathError{Op: "lstat", Path: path, Err: err}
	}
	return numberOf(path, stat)
}

func (linux) open(path string) (io.Closer, deviceNumber, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW, 0) //nolint:gosec // the connector names the device
	if err != nil {
		return nil, 0, err
	}
	var stat unix.Stat_t
	number := deviceNumber(0)
	if err = unix.Fstat(int(file.Fd()), &stat); err == nil {
		number, err = numberOf(path, stat)
	}
	if err != nil {
		return nil, 0, errors.Join(err, file.Close())
	}
	return file, number, nil
}

func numberOf(path string, stat unix.Stat_t) (deviceNumber, error) {
	if stat.Mode&unix.S_IFMT != unix.S_IFBLK {
		return 0, fmt.Errorf("%s is %w", path, errNoDevice)
	}
	return deviceNumber(stat.Rdev), nil
}

func (linux) size(device string) (size int64, err error) {
	file, err := os.Open(device) //nolint:gosec // the connector names the device
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return file.Seek(0, io.SeekEnd)
}

func (linux) protect(device string) error   { return setReadOnly(device, 1) }
func (linux) unprotect(device string) error { return setReadOnly(device, 0) }

func setReadOnly(device string, value int) (err error) {
	file, err := os.Open(device) //nolint:gosec // the connector names the device
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if err := unix.IoctlSetPointerInt(int(file.Fd()), unix.BLKROSET, value); err != nil {
		return fmt.Errorf("make %s read only (%d): %w", device, value, err)
	}
	return nil
}

func (linux) usage(path string) (unix.Statfs_t, error) {
	var usage unix.Statfs_t
	err := unix.Statfs(path, &usage)
	if err != nil {
		err = &os.PathError{Op: "statfs", Path: path, Err: err}
	}
	return usage, err
}
