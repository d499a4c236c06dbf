package nvme

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"syscall"
)

var (
	// ErrRefused means that the target answered, and refused: it doesn't export the subsystem, or not to this host.
	ErrRefused = errors.New("the target refused: it doesn't export this subsystem, or not to this host")
	// ErrUnreachable means that the target didn't answer.
	ErrUnreachable = errors.New("the target can't be reached; look at the storage network between this node and the appliance")
	// ErrNoModule means that this kernel can't connect to NVMe/TCP targets as it is.
	ErrNoModule = errors.New("this node's kernel isn't ready for NVMe/TCP: run modprobe nvme-tcp on the node, and put the line nvme-tcp into /etc/modules-load.d/nvme.conf there, so that it is loaded after a reboot")
	// ErrOtherNetwork means that this process has a network namespace of its own. The kernel makes a connection in the
	// namespace of the process that asks for it, and that namespace's interfaces go with the pod.
	ErrOtherNetwork = errors.New("this process isn't in the host's network namespace, and every connection that it makes would break when its pod ends: set hostNetwork: true for the node plugin's pod")
	// ErrNotHost means that the kernel has an initiator, and this process doesn't see all of it or may not use it.
	ErrNotHost = errors.New("this process can't use the host's NVMe initiator: the node plugin's container must be privileged, and have the host's /dev and /sys")
	// ErrKernelRefused means that the kernel itself refused to connect (EINVAL). It has one error for several causes.
	ErrKernelRefused = errors.New("this kernel refuses to make such a connection: either the module nvme-tcp isn't loaded (modprobe nvme-tcp), or it is too old " +
		"for an option of the StorageClass, or it is connected by hand to the same subsystem as another host; its log (dmesg) names the cause")
	// ErrNoDevice means that a connection has no block device, or more than one.
	ErrNoDevice = errors.New("no block device")
	// ErrInvalid means that a target can't be written as options of the kernel.
	ErrInvalid = errors.New("invalid target")
)

// connectError wraps the kernel's error for a connect in the error of this package that it stands for.
func connectError(target Target, err error) error {
	var reason error
	switch {
	case errors.Is(err, syscall.EIO):
		reason = ErrRefused // the target's status code, which tells why, is in the kernel's log only
	case isAny(err, syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE, syscall.ETIMEDOUT,
		syscall.EHOSTUNREACH, syscall.EHOSTDOWN, syscall.ENETUNREACH, syscall.ENETRESET, syscall.EADDRNOTAVAIL):
		reason = ErrUnreachable
	case isAny(err, fs.ErrNotExist, syscall.ENODEV, syscall.ENXIO):
		reason = ErrNoModule
	case isAny(err, syscall.EINVAL):
		reason = ErrKernelRefused
	default:
		return fmt.Errorf("connect to %s at %s port %d: %w", target.SubsystemNQN, target.Address, target.Port, err)
	}
	return fmt.Errorf("connect to %s at %s port %d: %w: %w", target.SubsystemNQN, target.Address, target.Port, reason, err)
}

// isGone reports whether an access to sysfs failed because the object no longer exists.
func isGone(err error) bool { return isAny(err, fs.ErrNotExist, syscall.ENODEV, syscall.ENXIO) }

func isAny(err error, targets ...error) bool {
	return slices.ContainsFunc(targets, func(target error) bool { return errors.Is(err, target) })
}
