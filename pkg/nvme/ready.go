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
	return i.loadTransport()
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

// loadTransport returns ErrNoModule unless the kernel has the module nvme-tcp, or can load it. /dev/nvme-fabrics belongs to
// another module. The kernel loads the transport that a connection is to use before it looks at the other options, and
// makes no connection without an address.
func (i *Initiator) loadTransport() error {
	module := filepath.Join(i.root, "sys/module/nvme_tcp")
	if _, err := os.Stat(module); err == nil {
		return nil
	}
	_, _ = i.addController("transport=tcp,nqn=nqn.2014-08.org.nvmexpress.discovery") // always refused
	if _, err := os.Stat(module); err != nil {
		return fmt.Errorf("%w: /dev/nvme-fabrics is there, and the kernel couldn't load nvme-tcp by itself: %w", ErrNoModule, err)
	}
	return nil
}
