package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
	"k8s.io/mount-utils"
)

// releaseBelow takes away every mount below the folder and every loop device on a file below it. A killed kubelet and
// its node process leave them behind, and they would keep the run's files in use.
func releaseBelow(f runFolder) error {
	return errors.Join(unmountBelow(f), freeLoopDevices(f))
}

func unmountBelow(f runFolder) error {
	mounts, err := mount.ParseMountInfo("/proc/self/mountinfo")
	if err != nil {
		return fmt.Errorf("read the mount table: %w", err)
	}
	var failures []error
	// A mount that lies on or in another one stands after it in the table.
	for _, m := range slices.Backward(mounts) {
		if !f.holds(m.MountPoint) {
			continue
		}
		err := unix.Unmount(m.MountPoint, unix.UMOUNT_NOFOLLOW)
		if errors.Is(err, unix.EBUSY) {
			err = unix.Unmount(m.MountPoint, unix.UMOUNT_NOFOLLOW|unix.MNT_DETACH)
		}
		// A mount that was propagated from another one goes together with it.
		if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
			failures = append(failures, fmt.Errorf("unmount %s: %w", m.MountPoint, err))
		}
	}
	return errors.Join(failures...)
}

func freeLoopDevices(f runFolder) error {
	files, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		return fmt.Errorf("list loop devices: %w", err)
	}
	var failures []error
	for _, file := range files {
		backing, err := os.ReadFile(file) //nolint:gosec // the kernel named the file
		if err != nil || !f.holds(strings.TrimSpace(string(backing))) {
			continue // a device that was freed meanwhile has no such file any more
		}
		device := filepath.Base(filepath.Dir(filepath.Dir(file)))
		failures = append(failures, freeLoopDevice(filepath.Join("/dev", device)))
	}
	return errors.Join(failures...)
}

func freeLoopDevice(device string) error {
	file, err := os.Open(device) //nolint:gosec // the kernel named the device
	if err != nil {
		return fmt.Errorf("free a loop device: %w", err)
	}
	defer func() { _ = file.Close() }()
	err = unix.IoctlSetInt(int(file.Fd()), unix.LOOP_CLR_FD, 0)
	if err != nil && !errors.Is(err, unix.ENXIO) {
		return fmt.Errorf("free %s: %w", device, err)
	}
	return nil
}

// holds reports whether path lies below the folder.
func (f runFolder) holds(path string) bool {
	return strings.HasPrefix(path, string(f)+"/")
}
