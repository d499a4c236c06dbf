// Package mounts gives tests folders like kubelet's: what is mounted there shows up on the host.
package mounts

import (
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// Share mounts a folder on itself, as a shared mount that shares with nobody yet. It needs root. The mount stays until
// somebody unmounts it.
func Share(folder string) error {
	if err := unix.Mount(folder, folder, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount %s on itself: %w", folder, err)
	}
	// On a shared mount, it is one of its peers now. What is mounted there must not show up below it as well.
	for _, propagation := range []uintptr{unix.MS_PRIVATE, unix.MS_SHARED} {
		if err := unix.Mount("", folder, "", propagation, ""); err != nil {
			return errors.Join(fmt.Errorf("make the mount %s shared: %w", folder, err), unix.Unmount(folder, unix.MNT_DETACH))
		}
	}
	return nil
}

// ShareFor shares a folder until the test ends.
func ShareFor(tb testing.TB, folder string) {
	tb.Helper()
	if err := Share(folder); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := unix.Unmount(folder, unix.MNT_DETACH); err != nil {
			tb.Errorf("unmount %s: %v", folder, err)
		}
	})
}
