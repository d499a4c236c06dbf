package nvme

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A node in /dev with half of the numbers is another device's.
func TestADeviceIsKnownByBothNumbers(t *testing.T) {
	const major, minor = 259, 7
	device := blockDevice{name: "nvme0n1", major: major, minor: minor}
	for name, c := range map[string]struct {
		mode   uint32
		number uint64
		want   bool
	}{
		"itself":             {unix.S_IFBLK | 0o660, unix.Mkdev(major, minor), true},
		"another minor":      {unix.S_IFBLK | 0o660, unix.Mkdev(major, minor+1), false},
		"another major":      {unix.S_IFBLK | 0o660, unix.Mkdev(major+1, minor), false},
		"swapped":            {unix.S_IFBLK | 0o660, unix.Mkdev(minor, major), false},
		"a high minor":       {unix.S_IFBLK | 0o660, unix.Mkdev(major, minor|1<<12), false},
		"a character device": {unix.S_IFCHR | 0o660, unix.Mkdev(major, minor), false},
		"a file":             {unix.S_IFREG | 0o660, unix.Mkdev(major, minor), false},
	} {
		if got := device.isAt(unix.Stat_t{Mode: c.mode, Rdev: c.number}); got != c.want {
			t.Errorf("%s: got %t", name, got)
		}
	}
}

// The states, written down a second time: a connection that is given up must be made anew, and no other one.
func TestWhichStatesMayBecomeLive(t *testing.T) {
	for state, want := range map[string]bool{
		"live": true, "resetting": true, "connecting": true, "new": true,
		"deleting": false, "deleting (no IO)": false, "dead": false, "": false, "unheard of": false,
	} {
		if got := mayBecomeLive(state); got != want {
			t.Errorf("%q: got %t", state, got)
		}
	}
}

// What goes while it is read has several errors in sysfs. Every other error says nothing of what is there.
func TestWhatCountsAsGone(t *testing.T) {
	for err, want := range map[error]bool{
		fs.ErrNotExist: true, syscall.ENOENT: true, syscall.ENODEV: true, syscall.ENXIO: true,
		syscall.EIO: false, syscall.EACCES: false, syscall.EINTR: false, errors.ErrUnsupported: false,
	} {
		if got := isGone(fmt.Errorf("read: %w", &os.PathError{Op: "read", Path: "state", Err: err})); got != want {
			t.Errorf("%v: got %t", err, got)
		}
	}
}
