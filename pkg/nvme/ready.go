package nvme

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Ready returns ErrNoModule if this kernel can't connect to NVMe/TCP targets yet, and ErrOtherNetwork or ErrNotHost if this
// process can't use the kernel's initiator and never will. Without the kernel's list of subsystems, nothing would look
// connected; with a read-only one, nothing could be disconnected.
func (i *Initiator) Ready() error {
	if err := i.checkNetwork(); err != nil {
		return err
	}
	var stat unix.Statfs_t
	if err := unix.Statfs(filepath.Join(i.root, "sys"), &stat); err == nil && stat.Flags&unix.ST_RDONLY != 0 {
		return fmt.Errorf("%w: /sys is read only", ErrNotHost)
	}
	if _, err := os.Stat(i.fabrics()); err != nil {
		return fmt.Errorf("%w: %w", ErrNoModule, err)
	}
	fabrics, err := os.OpenFile(i.fabrics(), os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotHost, err)
	}
	_ = fabrics.Close() // nothing was written that could be lost
	if _, err := os.Stat(i.sysfs.subsystemFolder()); err != nil {
		return fmt.Errorf("%w: %w", ErrNotHost, err)
	}
	return nil
}

// checkNetwork returns ErrOtherNetwork if process 1 has another network namespace than this process. Process 1 is the host's
// only if this process is in the host's PID namespace; in one of its own, nothing is found. Nor is it if this process may
// not look.
func (i *Initiator) checkNetwork() error {
	own, _ := os.Readlink(filepath.Join(i.root, "proc/self/ns/net"))
	first, _ := os.Readlink(filepath.Join(i.root, "proc/1/ns/net"))
	if own == "" || first == "" || own == first {
		return nil
	}
	return fmt.Errorf("%w: it has %s, process 1 has %s", ErrOtherNetwork, own, first)
}
