package nvme

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/singleflight"
	"k8s.io/klog/v2"
)

// Config says who connects, and where the kernel is.
type Config struct {
	// Host is this machine.
	Host HostIdentity
	// Root is the folder with dev and sys in it; empty: "/".
	Root string
}

// Initiator connects this machine by the kernel's own initiator. It keeps nothing: each method reads anew what the kernel
// has. It is safe for concurrent use, and none of its methods outlasts its context, though what was asked of the kernel
// may: nobody starts the same a second time while that lasts.
type Initiator struct {
	host    HostIdentity
	root    string
	sysfs   sysfs
	pending singleflight.Group
	dials   dials
	ask     func(wish string) (answer string, err error)
	check   func(path string, device blockDevice) error
	open    func(path string) error
}

// New makes an initiator.
func New(config Config) *Initiator {
	root := config.Root
	if root == "" {
		root = "/"
	}
	i := &Initiator{host: config.Host, root: root, sysfs: sysfs{root: root}, check: isDevice, open: canBeOpened}
	i.ask = func(wish string) (string, error) { return ask(i.fabrics(), wish) }
	return i
}

func (i *Initiator) fabrics() string { return filepath.Join(i.root, "dev/nvme-fabrics") }

// Ready returns ErrNoModule if the kernel can't be asked to connect at all.
func (i *Initiator) Ready() error {
	if _, err := os.Stat(i.fabrics()); err != nil {
		return fmt.Errorf("%w: %w", ErrNoModule, err)
	}
	return nil
}

// Connect returns once a connection to the target's subsystem is live. One that exists is used, and waited for while the
// kernel restores it; otherwise a new one is made. Errors are ErrRefused, ErrUnreachable, ErrNoModule, ErrUnwilling, ErrInvalid
// and those of ctx.
func (i *Initiator) Connect(ctx context.Context, target Target) error {
	for delay := time.Duration(0); ; {
		found, err := i.find(target.SubsystemNQN)
		if err != nil || found.state() == "live" {
			return err
		}
		if !hopeful(found.state()) {
			if err := i.dial(ctx, target); err != nil {
				return err
			}
		}
		if delay = backOff(delay); !sleep(ctx, delay) {
			return fmt.Errorf("connect to %s at %s port %d: %w: the connection is %q: %w", target.SubsystemNQN, target.Address, target.Port, ErrUnreachable, found.state(), ctx.Err())
		}
	}
}

// rescanInterval is how often the kernel is asked to look for a device that doesn't come. It looks by itself when it has
// connected, and leaves out a device whose identity another one has: that of an earlier epoch, as long as somebody uses it.
const rescanInterval = time.Second

// Device returns the path of the block device of a subsystem that is connected, once it is there and can be opened. Errors are ErrNoDevice,
// ErrUnreachable if the connection is lost meanwhile, and those of ctx.
func (i *Initiator) Device(ctx context.Context, subsystemNQN string) (string, error) {
	rescan := time.Now().Add(rescanInterval)
	for delay := time.Duration(0); ; {
		found, err := i.find(subsystemNQN)
		if err != nil {
			return "", err
		}
		if !hopeful(found.state()) {
			return "", fmt.Errorf("the device of %s: %w: the connection was lost", subsystemNQN, ErrUnreachable)
		}
		path, err := i.path(found)
		if err == nil {
			err = i.inBackground(ctx, "open "+path, func() error { return i.open(path) })
		}
		if err == nil || len(found.devices) > 1 {
			return path, err
		}
		if found.state() == "live" && !time.Now().Before(rescan) {
			if err := i.Rescan(ctx, subsystemNQN); err != nil {
				return "", err
			}
			rescan = time.Now().Add(rescanInterval)
		}
		if delay = backOff(delay); !sleep(ctx, delay) {
			return "", fmt.Errorf("the kernel is connected and shows no device that can be used (its log tells why; duplicate IDs mean that a pod still uses the dead device of an earlier connection): %w: %w", err, ctx.Err())
		}
	}
}

// find gives what the kernel has of a subsystem, which may be nothing.
func (i *Initiator) find(nqn string) (subsystem, error) {
	found, err := i.sysfs.subsystems(func(other string) bool { return other == nqn })
	if err != nil {
		return subsystem{}, fmt.Errorf("look for %s in sysfs: %w", nqn, err)
	}
	merged := subsystem{nqn: nqn}
	for _, one := range found {
		merged.controllers = append(merged.controllers, one.controllers...)
		merged.devices = append(merged.devices, one.devices...)
	}
	return merged, nil
}

// path gives the subsystem's device in /dev, after a look at what it is.
func (i *Initiator) path(found subsystem) (string, error) {
	device, err := found.device()
	if err != nil {
		return "", err
	}
	path := filepath.Join(i.root, "dev", device.name)
	return path, i.check(path, device)
}

// dial has the kernel connect. If ctx ends first, the kernel goes on, and what it makes is found by the next Connect or
// ended by the next Disconnect, which waits for it.
func (i *Initiator) dial(ctx context.Context, target Target) error {
	address, err := resolve(ctx, target.Address)
	if err != nil {
		return fmt.Errorf("connect to %s: %w", target.SubsystemNQN, err)
	}
	wish, err := wish(target, address, i.host)
	if err != nil {
		return fmt.Errorf("connect to %s: %w", target.SubsystemNQN, err)
	}
	logger := klog.FromContext(ctx)
	err = i.inBackground(ctx, "connect "+wish, func() error {
		defer i.dials.begin(target.SubsystemNQN)()
		answer, err := i.ask(wish)
		if errors.Is(err, syscall.EALREADY) {
			return nil // somebody else was faster
		}
		if err != nil {
			return connectError(target, err)
		}
		name, err := controllerOf(answer)
		logger.Info("Connected", "subsystem", target.SubsystemNQN, "controller", name)
		return err
	})
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return fmt.Errorf("connect to %s at %s port %d: %w: the kernel is still trying: %w", target.SubsystemNQN, target.Address, target.Port, ErrUnreachable, err)
	}
	return err
}

// inBackground does what can't be interrupted, and returns when it is done or ctx ends. While it goes on, whoever asks for
// the same waits for it instead of starting it again.
func (i *Initiator) inBackground(ctx context.Context, key string, work func() error) error {
	done := i.pending.DoChan(key, func() (any, error) { return nil, work() })
	select {
	case result := <-done:
		return result.Err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Connections lists the subsystems that the kernel knows whose NQN begins with the prefix, also those that have lost every
// controller and stay only because their device is in use: their State is empty. It also lists, as new, those that the
// kernel was asked for by this Initiator and that it shows only when the target has answered.
func (i *Initiator) Connections(ctx context.Context, nqnPrefix string) ([]Connection, error) {
	settled := time.Now().Add(settleLimit)
	for delay := time.Duration(0); ; {
		connections, err := i.connections(nqnPrefix)
		if err == nil || !errors.Is(err, ErrNoDevice) || !time.Now().Before(settled) {
			return connections, err
		}
		if delay = backOff(delay); !sleep(ctx, delay) {
			return nil, err
		}
	}
}

// settleLimit is how long sysfs and /dev may differ. A device that comes or goes is in one of them a moment before the other.
const settleLimit = 2 * time.Second

func (i *Initiator) connections(nqnPrefix string) ([]Connection, error) {
	found, err := i.sysfs.subsystems(func(nqn string) bool { return strings.HasPrefix(nqn, nqnPrefix) })
	if err != nil {
		return nil, fmt.Errorf("list NVMe subsystems: %w", err)
	}
	connections := make([]Connection, 0, len(found))
	for _, one := range found {
		connection := Connection{SubsystemNQN: one.nqn, State: one.state()}
		if len(one.devices) > 0 {
			if connection.Device, err = i.path(one); err != nil {
				return nil, fmt.Errorf("list NVMe subsystems: %w", err)
			}
		}
		connections = append(connections, connection)
	}
	for _, nqn := range i.dials.underWay(nqnPrefix) {
		if !slices.ContainsFunc(connections, func(c Connection) bool { return c.SubsystemNQN == nqn && c.State != "" }) {
			connections = append(connections, Connection{SubsystemNQN: nqn, State: "new"})
		}
	}
	return connections, nil
}

// Disconnect ends every connection to the subsystem and to no other, also one that the kernel is still making; having none is
// success. It can take a minute or two where the network swallows everything; if ctx ends first the kernel goes on.
func (i *Initiator) Disconnect(ctx context.Context, subsystemNQN string) error {
	for delay := time.Duration(0); ; {
		dialing := slices.Contains(i.dials.underWay(subsystemNQN), subsystemNQN) // what it makes is found now, or it is still making it
		found, err := i.find(subsystemNQN)
		if err != nil || len(found.controllers) == 0 && !dialing {
			return err
		}
		for _, c := range found.controllers {
			err := i.inBackground(ctx, "disconnect "+c.name+" "+subsystemNQN, func() error {
				return i.sysfs.control(c.name, subsystemNQN, "delete_controller")
			})
			if err != nil {
				return fmt.Errorf("disconnect %s, controller %s: %w", subsystemNQN, c.name, err)
			}
			klog.FromContext(ctx).Info("Disconnected", "subsystem", subsystemNQN, "controller", c.name)
		}
		if delay = backOff(delay); !sleep(ctx, delay) {
			return fmt.Errorf("disconnect %s: %w", subsystemNQN, ctx.Err())
		}
	}
}

// Rescan has the kernel look at the size of the subsystem's namespace again. It returns ErrUnreachable if no connection is
// live.
func (i *Initiator) Rescan(ctx context.Context, subsystemNQN string) error {
	found, err := i.find(subsystemNQN)
	if err != nil {
		return err
	}
	if found.state() != "live" {
		return fmt.Errorf("rescan %s: %w: the connection is %q", subsystemNQN, ErrUnreachable, found.state())
	}
	for _, c := range found.controllers {
		err := i.inBackground(ctx, "rescan "+c.name+" "+subsystemNQN, func() error {
			return i.sysfs.control(c.name, subsystemNQN, "rescan_controller")
		})
		if err != nil {
			return fmt.Errorf("rescan %s, controller %s: %w", subsystemNQN, c.name, err)
		}
	}
	return nil
}

// backOff gives the time to wait before sysfs, which tells of nothing by itself, is looked at again: 5 to 100 ms.
func backOff(last time.Duration) time.Duration {
	return min(max(2*last, 5*time.Millisecond), 100*time.Millisecond)
}

// sleep tells whether it could wait so long.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
