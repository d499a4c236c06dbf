package host

import (
	"context"
	"slices"
	"strings"

	"k8s.io/klog/v2"
	utilexec "k8s.io/utils/exec"
)

// Mounter mounts and unmounts. k8s.io/mount-utils has an implementation.
type Mounter interface {
	Mount(source, target, kind string, options []string) error
	Unmount(target string) error
}

// Host is the machine that the node service runs on. It is safe for concurrent use.
type Host struct {
	Kernel
	mounter  Mounter
	commands utilexec.Interface
}

// New returns a host that uses this kernel, mounter and commands.
func New(kernel Kernel, mounter Mounter, commands utilexec.Interface) *Host {
	return &Host{Kernel: kernel, mounter: mounter, commands: commands}
}

// The filesystems, as the kernel and the commands name them.
const (
	ext4 = "ext4"
	xfs  = "xfs"
)

// Filesystem is a filesystem that is wanted on a device.
type Filesystem struct {
	// Kind is ext4 or xfs.
	Kind string
	// Options are options of mount -o, except "ro".
	Options []string
	// ReadOnly is set if it must not be written.
	ReadOnly bool
}

// mountOptions returns the arguments of mount -o.
func (f Filesystem) mountOptions() []string {
	options := slices.Clone(f.Options)
	if f.ReadOnly {
		options = append(options, "ro")
	}
	if f.Kind == xfs {
		// A pod may still use the dead mount of an earlier epoch. Without nouuid, xfs refuses to mount a second filesystem
		// with the same UUID.
		options = append(options, "nouuid")
	}
	return options
}

// run runs a command and returns its output without white space around it. The command is killed when ctx ends.
func (h *Host) run(ctx context.Context, name string, arguments ...string) (string, error) {
	output, err := h.commands.CommandContext(ctx, name, arguments...).CombinedOutput()
	klog.FromContext(ctx).V(5).Info("Ran a command", "command", name, "arguments", arguments, "output", string(output), "err", err)
	return strings.TrimSpace(string(output)), err
}
