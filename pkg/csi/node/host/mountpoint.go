package host

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// MakeMountPoint makes the directory at path unless it exists.
func MakeMountPoint(path string) error {
	err := os.Mkdir(path, 0o750)
	if err == nil {
		return nil
	}
	if info, look := os.Lstat(path); errors.Is(err, os.ErrExist) && look == nil && info.IsDir() {
		return nil
	}
	return fmt.Errorf("make the mount point: %w", err)
}

// MakeMountFile makes the empty file at path on which a device's node is mounted, unless it exists.
func MakeMountFile(path string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600) //nolint:gosec // the caller names the path
	if err == nil {
		return file.Close()
	}
	if info, look := os.Lstat(path); errors.Is(err, os.ErrExist) && look == nil && isEmptyFile(info) {
		return nil
	}
	return fmt.Errorf("make the mount point: %w", err)
}

func isEmptyFile(info os.FileInfo) bool { return info.Mode().IsRegular() && info.Size() == 0 }

// RemoveMountPoint removes the directory or file at path; having none is success. One that isn't empty is an error: its
// content isn't this driver's.
func RemoveMountPoint(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("remove the mount point: %w", err)
	case info.IsDir():
		err = unix.Rmdir(path)
	case isEmptyFile(info):
		err = unix.Unlink(path)
	default:
		err = errors.New("it is neither a directory nor an empty file")
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the mount point %s (nothing in it is ever deleted; look what is there): %w", path, err)
	}
	return nil
}
