package host

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
	"k8s.io/mount-utils"
)

// What becomes of a filesystem after an error. It stays so until it is mounted again.
var (
	ErrShutDown   = errors.New("the filesystem was shut down after an error")
	ErrUnwritable = errors.New("the filesystem became read only after an error")
)

// Failed returns ErrShutDown or ErrUnwritable if the filesystem of a mount has failed, nil if it works, and another
// error if that isn't known. It hangs while the device does.
//
// The mount table doesn't tell on Linux 6.1 and 6.12, and syncfs(2) tells only once, or never. So the filesystem itself
// is asked for something. A mount that was made read only is only read.
func (h *Host) Failed(m mount.MountInfo) error {
	if IsDeviceNode(m) {
		return nil
	}
	err := h.TryRead(m.MountPoint)
	if err == nil && !ReadOnly(m) {
		err = h.TryWrite(m.MountPoint)
	}
	if errors.Is(err, unix.EROFS) {
		// Linux 6.12 notices with the first change that ext4's journal has failed, and shuts the filesystem down only then.
		err = h.TryWrite(m.MountPoint)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EROFS):
		return fmt.Errorf("%w: %w", ErrUnwritable, err)
	case errors.Is(err, unix.EIO), errors.Is(err, unix.EUCLEAN):
		return fmt.Errorf("%w: %w", ErrShutDown, err)
	default:
		return fmt.Errorf("look whether the filesystem works: %w", err)
	}
}
