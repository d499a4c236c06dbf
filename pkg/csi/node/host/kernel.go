package host

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

// DeviceNumber is the major and minor number of a device, as stat(2) and the mount table have it. Unlike a name it can be
// compared: the kernel gives it to another device only when nothing has the old one open any more.
type DeviceNumber uint64

// ErrNoDevice is returned for something that isn't a block device.
var ErrNoDevice = errors.New("not a block device")

// Kernel is what is asked of the kernel by system calls; commands do the rest.
type Kernel interface {
	// Mounts returns the mount table. Of two mounts at one path, the later one lies on top.
	Mounts() ([]mount.MountInfo, error)
	// Number returns the number of the block device whose node is at path. It returns ErrNoDevice if something else is
	// there, such as a symbolic link, and os.ErrNotExist if nothing is.
	Number(path string) (DeviceNumber, error)
	// Open opens the block device at path and returns its number, or ErrNoDevice if it is something else.
	Open(path string) (io.Closer, DeviceNumber, error)
	// Size returns the size of a block device in bytes.
	Size(device string) (int64, error)
	// Protect keeps everybody from writing the device, even if it is open already. Unprotect allows it again.
	Protect(device string) error
	Unprotect(device string) error
	// Usage returns how full the filesystem is that is mounted at path. It may hang if the device is gone.
	Usage(path string) (unix.Statfs_t, error)
}

// Linux is the kernel that this process runs on.
type Linux struct{}

// Mounts reads the mount table of this process.
func (Linux) Mounts() ([]mount.MountInfo, error) { return mount.ParseMountInfo(mountTable) }

// Number looks at the node itself, not at what it may point to.
func (Linux) Number(path string) (DeviceNumber, error) {
	var stat unix.Stat_t
	if err := unix.Lstat(path, &stat); err != nil {
		return 0, &os.PathError{Op: "lstat", Path: path, Err: err}
	}
	return numberOf(path, stat)
}

// Open opens the device for reading.
func (Linux) Open(path string) (io.Closer, DeviceNumber, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW, 0) //nolint:gosec // the caller names the device
	if err != nil {
		return nil, 0, err
	}
	var stat unix.Stat_t
	number := DeviceNumber(0)
	if err = unix.Fstat(int(file.Fd()), &stat); err == nil {
		number, err = numberOf(path, stat)
	}
	if err != nil {
		return nil, 0, errors.Join(err, file.Close())
	}
	return file, number, nil
}

func numberOf(path string, stat unix.Stat_t) (DeviceNumber, error) {
	if stat.Mode&unix.S_IFMT != unix.S_IFBLK {
		return 0, fmt.Errorf("%s is %w", path, ErrNoDevice)
	}
	return DeviceNumber(stat.Rdev), nil
}

// Size reads the size from the device.
func (Linux) Size(device string) (size int64, err error) {
	file, err := os.Open(device) //nolint:gosec // the caller names the device
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return file.Seek(0, io.SeekEnd)
}

// Protect sets the device read only.
func (Linux) Protect(device string) error { return setReadOnly(device, 1) }

// Unprotect sets the device writable.
func (Linux) Unprotect(device string) error { return setReadOnly(device, 0) }

func setReadOnly(device string, value int) (err error) {
	file, err := os.Open(device) //nolint:gosec // the caller names the device
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if err := unix.IoctlSetPointerInt(int(file.Fd()), unix.BLKROSET, value); err != nil {
		return fmt.Errorf("make %s read only (%d): %w", device, value, err)
	}
	return nil
}

// Usage is statfs(2).
func (Linux) Usage(path string) (unix.Statfs_t, error) {
	var usage unix.Statfs_t
	err := unix.Statfs(path, &usage)
	if err != nil {
		err = &os.PathError{Op: "statfs", Path: path, Err: err}
	}
	return usage, err
}
