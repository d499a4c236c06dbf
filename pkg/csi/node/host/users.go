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
	namespaces := map[string]bool{}
	if own, err := os.Readlink("/proc/self/ns/mnt"); err == nil {
		namespaces[own] = true
	}
	err := eachProcess(ctx, func(process string) error {
		mounted, err := mountedBy(process, device, namespaces)
		opened, errOpened := openedBy(process, device)
		for _, use := range []string{mounted, opened} {
			if use != "" {
				users = append(users, User{Name: nameOf(process), Use: use})
			}
		}
		return errors.Join(err, errOpened)
	})
	if err != nil {
		return nil, err
	}
	return users, nil
}

// eachProcess looks at every process but this one, by its folder in /proc. A look that isn't permitted is an error unless this
// process has both capabilities: who is refused all the same, such as by a user namespace of the other one's own, looks as far
// as it may.
func eachProcess(ctx context.Context, look func(process string) error) error {
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return err
	}
	self, err := os.Readlink("/proc/self")
	if err != nil {
		return fmt.Errorf("look who uses a device: %w", err)
	}
	for _, process := range processes {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("look who uses a device: %w", err)
		}
		if filepath.Base(process) == self {
			continue
		}
		if err := look(process); err != nil && len(Lacking(sysPtrace, dacReadSearch)) > 0 {
			return fmt.Errorf("look whether %s uses a device: %w", nameOf(process), nameLacking(err, sysPtrace, dacReadSearch))
		}
	}
	return nil
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

// mountedBy returns where the device is mounted in the mount namespace of a process; "" if it isn't, or mountTableOf returns
// nothing.
func mountedBy(process string, device DeviceNumber, read map[string]bool) (string, error) {
	mounts, err := mountTableOf(process, read)
	for _, m := range mounts {
		if filesystemDevice(m) == device {
			return "has it mounted at " + m.MountPoint + " in another mount namespace", nil
		}
	}
	return "", err
}

// mountTableOf returns the mounts in the mount namespace of a process; none if the namespace has been read, or if the process
// has ended. It adds the namespace to those that were read.
func mountTableOf(process string, read map[string]bool) ([]mount.MountInfo, error) {
	namespace, err := os.Readlink(process + "/ns/mnt")
	if err != nil || read[namespace] {
		return nil, unseen(err)
	}
	table, err := os.Open(process + "/mountinfo") //nolint:gosec // a path of /proc
	if err != nil {
		return nil, unseen(err)
	}
	mounts, err := parseMounts(table)
	if err := errors.Join(err, table.Close()); err != nil {
		return nil, unseen(err)
	}
	read[namespace] = true
	return mounts, nil
}

// openedBy reports how a process has the device open; "" if it hasn't, or has ended.
func openedBy(process string, device DeviceNumber) (use string, err error) {
	err = eachOpenDevice(process, func(opened DeviceNumber) {
		if opened == device {
			use = "has it open"
		}
	})
	return use, err
}

// eachOpenDevice finds the block devices that a process has open; none if it has ended. It asks only what the kernel has in
// memory: a file may be on a filesystem that hangs. A file of which that is refused, as FUSE does, is no device.
func eachOpenDevice(process string, found func(DeviceNumber)) error {
	folder := process + "/fd"
	entries, err := os.ReadDir(folder)
	if err != nil {
		return unseen(err)
	}
	for _, entry := range entries {
		var stat unix.Statx_t
		err := unix.Statx(unix.AT_FDCWD, filepath.Join(folder, entry.Name()), unix.AT_STATX_DONT_SYNC, unix.STATX_TYPE, &stat)
		if err == nil && stat.Mode&unix.S_IFMT == unix.S_IFBLK {
			found(DeviceNumber(unix.Mkdev(stat.Rdev_major, stat.Rdev_minor)))
		}
	}
	return nil
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
