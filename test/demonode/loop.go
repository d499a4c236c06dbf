package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// attachAttempts bounds the race for a free loop device.
	attachAttempts = 16
	// pollInterval is how often a device that is still in use is looked at again: nothing tells when it is free.
	pollInterval = 20 * time.Millisecond
)

// backingFile gives the file that a loop device is attached to, "" if it is attached to none.
func backingFile(device string) (string, error) {
	content, err := os.ReadFile(filepath.Join("/sys/block", filepath.Base(device), "loop/backing_file"))
	// A device that is being freed takes its attributes away while they are read.
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("look at %s: %w", device, err)
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(content), "\n"), " (deleted)"), nil
}

// isAttached reports whether the loop device is attached to this file, and not to another one by now.
func isAttached(device, file string) (bool, error) {
	backing, err := backingFile(device)
	return backing == file, err
}

// devicesOf lists the loop devices of this machine that are attached to the file, whoever did it.
func devicesOf(file string) ([]string, error) {
	folders, err := filepath.Glob("/sys/block/loop*")
	if err != nil {
		return nil, err
	}
	var devices []string
	for _, folder := range folders {
		device := filepath.Join("/dev", filepath.Base(folder))
		attached, err := isAttached(device, file)
		if err != nil {
			return nil, err
		}
		if attached {
			devices = append(devices, device)
		}
	}
	return devices, nil
}

// attachLoop attaches a free loop device to the file, whose path has no symbolic links. It refuses a file that has one
// already: two live mounts of one image destroy it.
func attachLoop(file string) (device string, err error) {
	if err := checkAlone(file, ""); err != nil {
		return "", err
	}
	backing, err := os.OpenFile(file, os.O_RDWR, 0) //nolint:gosec // the simulator names the file
	if err != nil {
		return "", fmt.Errorf("attach: %w", err)
	}
	defer func() { _ = backing.Close() }()
	for range attachAttempts {
		device, err = attachFree(backing)
		if !errors.Is(err, unix.EBUSY) {
			break
		}
	}
	if err != nil {
		return "", fmt.Errorf("attach %s: %w", file, err)
	}
	// Another process may have had the same idea since the first look.
	if err := checkAlone(file, device); err != nil {
		_, detach := clearLoop(device, file)
		return "", errors.Join(err, detach)
	}
	return device, nil
}

func checkAlone(file, own string) error {
	devices, err := devicesOf(file)
	if err != nil {
		return err
	}
	for _, device := range devices {
		if device != own {
			return fmt.Errorf("attach %s: %s on this machine is attached to it already, and two mounts of one image destroy it; detach that first", file, device)
		}
	}
	return nil
}

func attachFree(backing *os.File) (string, error) {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer func() { _ = control.Close() }()
	number, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
	if err != nil {
		return "", fmt.Errorf("find a free loop device: %w", err)
	}
	device := fmt.Sprintf("/dev/loop%d", number)
	loop, err := os.OpenFile(device, os.O_RDWR, 0) //nolint:gosec // the kernel names the device
	if err != nil {
		return "", err
	}
	defer func() { _ = loop.Close() }()
	config := &unix.LoopConfig{Fd: uint32(backing.Fd())} //nolint:gosec // descriptors are small
	if err := unix.IoctlLoopConfigure(int(loop.Fd()), config); err != nil {
		return "", fmt.Errorf("configure %s: %w", device, err)
	}
	return device, nil
}

// clearLoop asks the kernel to detach the device from the file and reports whether it is detached; a device that is in
// use is detached by the kernel at its last close.
func clearLoop(device, file string) (gone bool, err error) {
	if err := clearIfAttached(device, file); err != nil {
		return false, err
	}
	attached, err := isAttached(device, file)
	return err == nil && !attached, err
}

func clearIfAttached(device, file string) error {
	loop, err := os.OpenFile(device, os.O_RDONLY, 0) //nolint:gosec // the kernel named the device
	if errors.Is(err, unix.ENXIO) || errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("detach: %w", err)
	}
	defer func() { _ = loop.Close() }()
	// While it is open here it can't be freed and given to another file, so the answer holds for the next call.
	attached, err := isAttached(device, file)
	if err != nil || !attached {
		return err
	}
	if err := unix.IoctlSetInt(int(loop.Fd()), unix.LOOP_CLR_FD, 0); err != nil && !errors.Is(err, unix.ENXIO) {
		return fmt.Errorf("detach %s: %w", device, err)
	}
	return nil
}

// resizeLoop gives the device the size that its file has by now.
func resizeLoop(device, file string) error {
	loop, err := os.OpenFile(device, os.O_RDONLY, 0) //nolint:gosec // the kernel named the device
	if err != nil {
		return fmt.Errorf("resize: %w", err)
	}
	defer func() { _ = loop.Close() }()
	// While it is open here it can't be freed and given to another file, so the answer holds for the next call.
	attached, err := isAttached(device, file)
	if err != nil {
		return err
	}
	if !attached {
		return fmt.Errorf("resize %s: it is not attached to %s any more", device, file)
	}
	if err := unix.IoctlSetInt(int(loop.Fd()), unix.LOOP_SET_CAPACITY, 0); err != nil {
		return fmt.Errorf("resize %s: %w", device, err)
	}
	return nil
}

// waitUntil tries again and again until it is done, fails, or the context ends.
func waitUntil(ctx context.Context, try func() (done bool, err error)) error {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		if done, err := try(); done || err != nil {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
