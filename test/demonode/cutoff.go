package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"
	"k8s.io/mount-utils"
)

const (
	// shutdownRequest is the ioctl that ends a filesystem at once, EXT4_IOC_SHUTDOWN; xfs has the same one.
	shutdownRequest = 0x8004587D
	// shutdownNoLogFlush: not even the journal is written any more.
	shutdownNoLogFlush = 2
)

// cutOff takes every way to write to the device away: it ends the filesystem, unmounts it everywhere and detaches the
// device, again and again until the kernel has really let go of the file. Its error means that it hasn't.
func cutOff(ctx context.Context, device, file string) error {
	reported := false
	return waitUntil(ctx, func() (bool, error) {
		if attached, err := isAttached(device, file); err == nil && !attached {
			return true, nil
		}
		// The filesystem comes first: what fails here must not keep the device from being detached.
		failed := endFilesystem(device)
		gone, err := clearLoop(device, file)
		if !gone && !reported {
			reported = true
			klog.FromContext(ctx).Info("Still in use: detached as soon as whoever has files open there closes them", "device", device, "file", file, "err", errors.Join(failed, err))
		}
		return gone, nil
	})
}

// endFilesystem shuts the filesystem on a device down and unmounts it wherever it is mounted.
func endFilesystem(device string) error {
	var stat unix.Stat_t
	if err := unix.Stat(device, &stat); err != nil {
		return fmt.Errorf("look at %s: %w", device, err)
	}
	mounts, err := mount.ParseMountInfo("/proc/self/mountinfo")
	if err != nil {
		return fmt.Errorf("read the mount table: %w", err)
	}
	mounts = slices.DeleteFunc(mounts, func(m mount.MountInfo) bool {
		return m.Major != int(unix.Major(stat.Rdev)) || m.Minor != int(unix.Minor(stat.Rdev))
	})
	var failures []error
	for _, m := range mounts {
		failures = append(failures, shutDown(m.MountPoint, stat.Rdev))
	}
	for _, m := range slices.Backward(mounts) {
		failures = append(failures, unmount(m.MountPoint, stat.Rdev))
	}
	return errors.Join(failures...)
}

// shutDown ends the filesystem that is seen at path, if it is the one on the device: another one may lie on top of it.
func shutDown(path string, device uint64) error {
	folder, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY, 0) //nolint:gosec // the mount table names the path
	if err != nil {
		return fmt.Errorf("shut down the filesystem: %w", err)
	}
	defer func() { _ = folder.Close() }()
	var stat unix.Stat_t
	if err := unix.Fstat(int(folder.Fd()), &stat); err != nil {
		return fmt.Errorf("shut down the filesystem at %s: %w", path, err)
	}
	if stat.Dev != device {
		return nil
	}
	if err := unix.IoctlSetPointerInt(int(folder.Fd()), shutdownRequest, shutdownNoLogFlush); err != nil {
		return fmt.Errorf("shut down the filesystem at %s: %w", path, err)
	}
	return nil
}

// unmount takes the filesystem at path away if it is the one on the device, at once if possible and else lazily.
func unmount(path string, device uint64) error {
	var stat unix.Stat_t
	if err := unix.Lstat(path, &stat); err == nil && stat.Dev != device {
		return nil
	}
	err := unix.Unmount(path, unix.UMOUNT_NOFOLLOW)
	if errors.Is(err, unix.EBUSY) {
		err = unix.Unmount(path, unix.UMOUNT_NOFOLLOW|unix.MNT_DETACH)
	}
	// A mount that was propagated from another one goes together with it.
	if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unmount %s: %w", path, err)
	}
	return nil
}
