package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	"k8s.io/mount-utils"
)

// User is somebody who uses a block device.
type User struct {
	// Name names a process by its number and command, or what the kernel built on the device.
	Name string
	// Use is what the user does with the device.
	Use string
}

// String returns the name and the use.
func (u User) String() string { return u.Name + " " + u.Use }

// Users reads /proc and /sys. A mount namespace is read once, and none of the processes' own: what is unmounted there
// may be mounted elsewhere.
func (Linux) Users(ctx context.Context, device DeviceNumber) ([]User, error) {
	users := append(builtOn(device), loopsOn(device)...)
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	self, err := os.Readlink("/proc/self")
	if err != nil {
		return nil, fmt.Errorf("look who uses a device: %w", err)
	}
	namespaces := map[string]bool{}
	if own, err := os.Readlink("/proc/self/ns/mnt"); err == nil {
		namespaces[own] = true
	}
	for _, process := range processes {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("look who uses a device: %w", err)
		}
		if filepath.Base(process) == self {
			continue
		}
		mounted, err := mountedBy(process, device, namespaces)
		opened, errOpened := openedBy(process, device)
		// Who has both capabilities and is refused all the same, such as in a user namespace of its own, looks as far as it may.
		if err := errors.Join(err, errOpened); err != nil && len(Lacking(sysPtrace, dacReadSearch)) > 0 {
			return nil, fmt.Errorf("look whether %s uses a device: %w", nameOf(process), nameLacking(err, sysPtrace, dacReadSearch))
		}
		for _, use := range []string{mounted, opened} {
			if use != "" {
				users = append(users, User{Name: nameOf(process), Use: use})
			}
		}
	}
	return users, nil
}

// unseen returns the error of a look at a process that the kernel doesn't permit. Any other one says that the process has
// ended, and uses nothing.
func unseen(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil
}

// nameOf returns the number of a process and its command.
func nameOf(process string) string {
	command, _ := os.ReadFile(process + "/comm") //nolint:gosec // a path of /proc
	return fmt.Sprintf("process %s (%s)", filepath.Base(process), cmp.Or(strings.TrimSpace(string(command)), "ended"))
}

// mountedBy returns where the device is mounted in the mount namespace of a process; "" if it isn't, if the namespace
// has been read, or if the process has ended. It adds the namespace to those that were read.
func mountedBy(process string, device DeviceNumber, read map[string]bool) (string, error) {
	namespace, err := os.Readlink(process + "/ns/mnt")
	if err != nil || read[namespace] {
		return "", unseen(err)
	}
	mounts, err := mount.ParseMountInfo(process + "/mountinfo")
	if err != nil {
		return "", unseen(err)
	}
	read[namespace] = true
	for _, m := range mounts {
		if filesystemDevice(m) == device {
			return "has it mounted at " + m.MountPoint + " in another mount namespace", nil
		}
	}
	return "", nil
}

// openedBy reports how a process has the device open; "" if it hasn't, or has ended. It asks only what the kernel has
// in memory: a file may be on a filesystem that hangs. A file of which that is refused, as FUSE does, is no device.
func openedBy(process string, device DeviceNumber) (string, error) {
	folder := process + "/fd"
	entries, err := os.ReadDir(folder)
	if err != nil {
		return "", unseen(err)
	}
	for _, entry := range entries {
		var stat unix.Statx_t
		err := unix.Statx(unix.AT_FDCWD, filepath.Join(folder, entry.Name()), unix.AT_STATX_DONT_SYNC, unix.STATX_TYPE, &stat)
		if err == nil && stat.Mode&unix.S_IFMT == unix.S_IFBLK && DeviceNumber(unix.Mkdev(stat.Rdev_major, stat.Rdev_minor)) == device {
			return "has it open", nil
		}
	}
	return "", nil
}

// builtOn returns the devices that device mapper and others built on the device, the filesystem that is mounted from
// it, and whether the kernel swaps to it.
func builtOn(device DeviceNumber) []User {
	folder, err := filepath.EvalSymlinks(fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(uint64(device)), unix.Minor(uint64(device))))
	if err != nil {
		return nil // the device is gone
	}
	var users []User
	holders, _ := filepath.Glob(folder + "/holders/*")
	for _, holder := range holders {
		users = append(users, User{Name: filepath.Base(holder), Use: "is built on it"})
	}
	for _, kind := range []string{ext4, xfs} {
		if _, err := os.Stat("/sys/fs/" + kind + "/" + filepath.Base(folder)); err == nil {
			users = append(users, User{Name: "its " + kind + " filesystem", Use: "is mounted"})
		}
	}
	swaps, _ := os.ReadFile("/proc/swaps")
	for line := range strings.Lines(string(swaps)) {
		path, _, _ := strings.Cut(line, " ")
		if number, err := (Linux{}).Number(path); err == nil && number == device {
			users = append(users, User{Name: "the kernel", Use: "swaps to it"})
		}
	}
	return users
}

// loopsOn returns the loop devices whose backing file is the device. Nothing else shows them: they don't claim it.
func loopsOn(device DeviceNumber) []User {
	var users []User
	loops, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, loop := range loops {
		name := filepath.Base(filepath.Dir(filepath.Dir(loop)))
		backing, err := backingDevice("/dev/" + name)
		if err == nil && backing == device {
			users = append(users, User{Name: name, Use: "is a loop device on it"})
		}
	}
	return users
}

// backingDevice returns the number of the block device that is the backing file of a loop device.
func backingDevice(loop string) (DeviceNumber, error) {
	file, err := os.Open(loop) //nolint:gosec // a name of /sys
	if err != nil {
		return 0, err
	}
	defer func() { _ = file.Close() }()
	info, err := unix.IoctlLoopGetStatus64(int(file.Fd()))
	if err != nil {
		return 0, os.NewSyscallError("LOOP_GET_STATUS64 of "+strconv.Quote(loop), err)
	}
	return DeviceNumber(info.Rdevice), nil
}
