package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
	"k8s.io/mount-utils"
)

// mountTable is the mount table of this process.
const mountTable = "/proc/self/mountinfo"

// DeviceNumber is the major and minor number of a device, as stat(2) returns it. Unlike a name it identifies the
// device: the kernel gives it to another one only when no process has the old one open any more.
type DeviceNumber uint64

// ErrNoDevice is returned for something that isn't a block device.
var ErrNoDevice = errors.New("not a block device")

// Kernel has the system calls that are made on devices and mounts.
type Kernel interface {
	DeviceCalls
	MountCalls
}

// DeviceCalls are those on block devices.
type DeviceCalls interface {
	// Number returns the number of the block device whose node is at path. It returns ErrNoDevice for anything else, such
	// as a symbolic link, and os.ErrNotExist if the path doesn't exist.
	Number(path string) (DeviceNumber, error)
	// Open opens the block device at path and returns its number, or ErrNoDevice if it is something else.
	Open(path string) (io.Closer, DeviceNumber, error)
	// Size returns the size of a block device in bytes.
	Size(device string) (int64, error)
	// SetReadOnly forbids or allows all writing to the device, also by processes that have it open already.
	SetReadOnly(device string, readOnly bool) error
	// Flush writes what a block device has in memory, in its own cache too. It hangs while the device does.
	Flush(device string) error
	// Claim claims a block device until it is closed. It returns unix.EBUSY if a filesystem, a swap area or another device
	// has claimed it, in whatever mount namespace.
	Claim(device string) (io.Closer, error)
	// Users returns what is known of those who use the block device, except for this process. It finds processes in its
	// own PID namespace only.
	Users(ctx context.Context, device DeviceNumber) ([]User, error)
	// Used tells which of the block devices a process uses, other than this one and other than by seeing what is mounted for
	// kubelet. It finds processes in its own PID namespace only.
	Used(ctx context.Context, devices []DeviceNumber) (map[DeviceNumber]bool, error)
}

// MountCalls are those on what is mounted.
type MountCalls interface {
	// Mounts returns the mount table. Of two mounts at one path, the later one lies on top.
	Mounts() ([]mount.MountInfo, error)
	// Usage returns how full the filesystem is that is mounted at path. It may hang if the device is gone.
	Usage(path string) (unix.Statfs_t, error)
	// TryRead looks at the root of the filesystem at path. It hangs if the device does and the root isn't in memory.
	TryRead(path string) error
	// TryWrite asks the filesystem at path for a change that changes nothing. It hangs while the device does, if the
	// filesystem must write first.
	TryWrite(path string) error
	// Sync writes what the filesystem at path has in memory to its device. It hangs while the device does.
	Sync(path string) error
}

// Linux is the kernel that this process runs on.
type Linux struct{}

// Mounts reads the mount table of this process.
func (Linux) Mounts() (_ []mount.MountInfo, err error) {
	file, err := os.Open(mountTable)
	if err != nil {
		return nil, fmt.Errorf("open the mount table: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return parseMounts(file)
}

// parseMounts reads a mount table. mount-utils can't read one in which any mount has an empty source.
func parseMounts(table io.Reader) ([]mount.MountInfo, error) {
	infos, err := mountinfo.GetMountsFromReader(table, nil)
	if err != nil {
		return nil, fmt.Errorf("read the mount table: %w", err)
	}
	mounts := make([]mount.MountInfo, 0, len(infos))
	for _, info := range infos {
		mounts = append(mounts, mount.MountInfo{
			ID: info.ID, ParentID: info.Parent, Major: info.Major, Minor: info.Minor, Root: info.Root, Source: info.Source,
			MountPoint: info.Mountpoint, FsType: info.FSType, OptionalFields: strings.Fields(info.Optional),
			MountOptions: strings.Split(info.Options, ","), SuperOptions: strings.Split(info.VFSOptions, ","),
		})
	}
	return mounts, nil
}

// Number is lstat(2).
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

// SetReadOnly is the ioctl BLKROSET.
func (Linux) SetReadOnly(device string, readOnly bool) (err error) { //nolint:revive // flag-parameter: it is the value itself, not a switch
	value := 0
	if readOnly {
		value = 1
	}
	file, err := os.Open(device) //nolint:gosec // the caller names the device
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if err := unix.IoctlSetPointerInt(int(file.Fd()), unix.BLKROSET, value); err != nil {
		return fmt.Errorf("make %s read only (%d): %w", device, value, nameLacking(err, sysAdmin))
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

// TryRead is lstat(2).
func (Linux) TryRead(path string) error {
	_, err := os.Lstat(path)
	return err
}

// absentAttribute is an extended attribute that no file has.
const absentAttribute = "trusted.rds-csi.absent"

// TryWrite is lremovexattr(2) of an attribute that doesn't exist. The filesystem begins a transaction before it finds
// that out, which it refuses if it has failed. Neither the attributes nor the times of the root change.
func (Linux) TryWrite(path string) error {
	err := unix.Lremovexattr(path, absentAttribute)
	if err == nil || errors.Is(err, unix.ENODATA) {
		return nil
	}
	return nameLacking(&os.PathError{Op: "lremovexattr", Path: path, Err: err}, sysAdmin)
}

// Sync is syncfs(2). The root of the filesystem may be a pod's, and closed to others.
func (Linux) Sync(path string) (err error) {
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY, 0) //nolint:gosec // the caller names the path
	if err != nil {
		return nameLacking(err, dacReadSearch)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if err := unix.Syncfs(int(file.Fd())); err != nil {
		return &os.PathError{Op: "syncfs", Path: path, Err: err}
	}
	return nil
}

// Flush is fsync(2).
func (Linux) Flush(device string) (err error) {
	file, err := os.Open(device) //nolint:gosec // the caller names the device
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}

// Claim opens the device with O_EXCL.
func (Linux) Claim(device string) (io.Closer, error) {
	return os.OpenFile(device, os.O_RDONLY|unix.O_EXCL|unix.O_NOFOLLOW, 0) //nolint:gosec // the caller names the device
}
