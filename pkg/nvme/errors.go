package nvme

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

var (
	// ErrRefused says that the target answered and let nobody in: it doesn't export the subsystem, or not to this host.
	ErrRefused = errors.New("the target refused: it doesn't export this subsystem, or not to this host")
	// ErrUnreachable says that the target didn't answer.
	ErrUnreachable = errors.New("the target can't be reached")
	// ErrNoModule says that this kernel can't connect to NVMe/TCP targets as it is.
	ErrNoModule = errors.New("this kernel isn't ready for NVMe/TCP: load the module nvme-tcp (modprobe nvme-tcp), and show /dev to this process")
	// ErrUnwilling says that this kernel was asked for a connection that it can't or won't make, of which it has but one error
	// for several causes.
	ErrUnwilling = errors.New("this kernel refuses to make such a connection: either the module nvme-tcp isn't loaded (modprobe nvme-tcp), or it is too old " +
		"for an option of the StorageClass, or it is connected by hand to the same subsystem as another host; its log (dmesg) names the cause")
	// ErrNoDevice says that there is a connection without the one block device that it should have.
	ErrNoDevice = errors.New("no block device")
	// ErrInvalid says that a target can't be put into the words of the kernel.
	ErrInvalid = errors.New("invalid target")
)

// connectError says what the kernel's answer to a wish to connect means.
func connectError(target Target, err error) error {
	var reason error
	switch {
	case errors.Is(err, syscall.EIO):
		reason = ErrRefused // which of the two it is, only the kernel's log tells: the status is lost on the way
	case isAny(err, syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE, syscall.ETIMEDOUT,
		syscall.EHOSTUNREACH, syscall.EHOSTDOWN, syscall.ENETUNREACH, syscall.ENETRESET, syscall.EADDRNOTAVAIL):
		reason = ErrUnreachable
	case isAny(err, fs.ErrNotExist, syscall.ENODEV, syscall.ENXIO):
		reason = ErrNoModule
	case isAny(err, syscall.EINVAL):
		reason = ErrUnwilling
	default:
		return fmt.Errorf("connect to %s at %s port %d: %w", target.SubsystemNQN, target.Address, target.Port, err)
	}
	return fmt.Errorf("connect to %s at %s port %d: %w: %w", target.SubsystemNQN, target.Address, target.Port, reason, err)
}

// isGone tells whether a file of sysfs failed because what it stood for is not there any more.
func isGone(err error) bool { return isAny(err, fs.ErrNotExist, syscall.ENODEV, syscall.ENXIO) }

func isAny(err error, targets ...error) bool {
	for _, target := range targets {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}
