package host

import (
	"context"
	"slices"
	"strings"

	"k8s.io/klog/v2"
	utilexec "k8s.io/utils/exec"
)

// Mounter mounts and unmounts; package mount has the real one.
type Mounter interface {
	Mount(source, target, kind string, options []string) error
	Unmount(target string) error
}

// Host is the machine that a node service runs on. It is safe for concurrent use.
type Host struct {
	Kernel
	mounter  Mounter
	commands utilexec.Interface
}

// New returns a host with this kernel and these tools.
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
	// Options are those of mount -o, without "ro".
	Options []string
	// ReadOnly is set if it is never to be written.
	ReadOnly bool
}

// mountOptions returns the arguments of mount -o.
func (f Filesystem) mountOptions() []string {
	options := slices.Clone(f.Options)
	if f.ReadOnly {
		options = append(options, "ro")
	}
	if f.Kind == xfs {
		// A pod may still have the dead mount of an earlier epoch. xfs refuses to mount a second filesystem of the same
		// UUID beside it otherwise.
		options = append(options, "nouuid")
	}
	return options
}

// run returns what a command wrote, without white space around it. The end of ctx ends the command.
func (h *Host) run(ctx context.Context, name string, arguments ...string) (string, error) {
	output, err := h.commands.CommandContext(ctx, name, arguments...).CombinedOutput()
	klog.FromContext(ctx).V(5).Info("Ran a command", "command", name, "arguments", arguments, "output", string(output), "err", err)
	return strings.TrimSpace(string(output)), err
}
