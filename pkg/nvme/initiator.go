package nvme

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/singleflight"
	"k8s.io/klog/v2"
)

// Config is what an Initiator needs to know.
type Config struct {
	// Host is this machine.
	Host HostIdentity
	// Root is the directory that contains dev and sys; empty stands for "/".
	Root string
}

// Initiator connects this machine through the kernel's NVMe/TCP initiator. It caches nothing: each method reads the
// kernel's state anew. It is safe for concurrent use.
//
// A method that takes a context returns when the context ends, but an operation of the kernel can't be interrupted and
// goes on. Until it ends, a second call for the same operation waits for it instead of starting another one.
type Initiator struct {
	host          HostIdentity
	root          string
	sysfs         sysfs
	operations    singleflight.Group
	connects      pendingConnects
	addController func(options string) (reply string, err error)
	checkDevice   func(path string, device blockDevice) error
	openDevice    func(path string) error
}

// New makes an initiator.
func New(config Config) *Initiator {
	root := cmp.Or(config.Root, "/")
	i := &Initiator{
		host: config.Host, root: root, sysfs: sysfs{root: root}, connects: pendingConnects{counts: map[string]int{}},
		checkDevice: checkDevice, openDevice: openAndClose,
	}
	i.addController = func(options string) (string, error) { return addController(i.fabrics(), options) }
	return i
}

func (i *Initiator) fabrics() string { return filepath.Join(i.root, "dev/nvme-fabrics") }

// Connect returns once a connection to the target's subsystem is live. It uses one that exists, and waits while the
// kernel restores it; otherwise it makes a new one. Errors are ErrRefused, ErrUnreachable, ErrNoModule,
// ErrKernelRefused, ErrInvalid and those of ctx.
func (i *Initiator) Connect(ctx context.Context, target Target) error {
	for delay := backOff(0); ; {
		found, err := i.find(target.SubsystemNQN)
		if err != nil || found.state() == stateLive {
			return err
		}
		if !mayBecomeLive(found.state()) {
			if err := i.requestConnect(ctx, target); err != nil {
				return err
			}
		}
		if !delay.wait(ctx) {
			return fmt.Errorf("connect to %s at %s port %d: %w: the connection is %q: %w", target.SubsystemNQN, target.Address, target.Port, ErrUnreachable, found.state(), ctx.Err())
		}
	}
}

// rescanInterval is the time between two rescans while a device is waited for. The kernel scans by itself only when it
// has connected. It then leaves out a device with the identity of another one, such as the device of an earlier epoch
// that is still in use.
const rescanInterval = time.Second

// Device returns the path of the block device of a connected subsystem, once the device exists and can be opened.
// Errors are ErrNoDevice, ErrUnreachable if the connection is lost meanwhile, and those of ctx.
func (i *Initiator) Device(ctx context.Context, subsystemNQN string) (string, error) {
	rescan := time.Now().Add(rescanInterval)
	for delay := backOff(0); ; {
		found, err := i.find(subsystemNQN)
		if err != nil {
			return "", err
		}
		if !mayBecomeLive(found.state()) {
			return "", fmt.Errorf("the device of %s: %w: the connection was lost", subsystemNQN, ErrUnreachable)
		}
		path, err := i.path(found)
		if err == nil {
			err = i.inBackground(ctx, "open "+path, func() error { return i.openDevice(path) })
		}
		if err == nil || len(found.devices) > 1 {
			return path, err
		}
		if found.state() == stateLive && !time.Now().Before(rescan) {
			if err := i.Rescan(ctx, subsystemNQN); err != nil {
				return "", err
			}
			rescan = time.Now().Add(rescanInterval)
		}
		if !delay.wait(ctx) {
			return "", fmt.Errorf("the kernel is connected and shows no device that can be used (its log names the cause; duplicate IDs mean that a pod still uses the dead device of an earlier connection): %w: %w", err, ctx.Err())
		}
	}
}

// find returns what the kernel has of a subsystem, which may be nothing. Two entries of one NQN are merged.
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

// path returns the path of the subsystem's block device, after a check that it is that device.
func (i *Initiator) path(found subsystem) (string, error) {
	device, err := found.device()
	if err != nil {
		return "", err
	}
	path := filepath.Join(i.root, "dev", device.name)
	return path, i.checkDevice(path, device)
}

// requestConnect has the kernel make a connection. If ctx ends first, the kernel goes on. The next Connect finds what
// it made, and Disconnect waits for it and ends it.
func (i *Initiator) requestConnect(ctx context.Context, target Target) error {
	address, err := resolve(ctx, target.Address)
	if err != nil {
		return fmt.Errorf("connect to %s: %w", target.SubsystemNQN, err)
	}
	options, err := connectOptions(target, address, i.host)
	if err != nil {
		return fmt.Errorf("connect to %s: %w", target.SubsystemNQN, err)
	}
	logger := klog.FromContext(ctx)
	err = i.inBackground(ctx, "connect "+options, func() error {
		defer i.connects.begin(target.SubsystemNQN)()
		reply, err := i.addController(options)
		if errors.Is(err, syscall.EALREADY) {
			return nil // another process is connecting or has connected
		}
		if err != nil {
			return connectError(target, err)
		}
		name, err := parseReply(reply)
		logger.Info("Connected", "subsystem", target.SubsystemNQN, "controller", name)
		return err
	})
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return fmt.Errorf("connect to %s at %s port %d: %w: the kernel is still trying: %w", target.SubsystemNQN, target.Address, target.Port, ErrUnreachable, err)
	}
	return err
}

// inBackground runs an operation that can't be interrupted. It returns when the operation is done or ctx ends. While
// the operation goes on, another call with the same key waits for it instead of starting a second one.
func (i *Initiator) inBackground(ctx context.Context, key string, operate func() error) error {
	done := i.operations.DoChan(key, func() (any, error) { return nil, operate() })
	select {
	case result := <-done:
		return result.Err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// settleLimit is how long sysfs and /dev may differ. A device appears in one of them, and disappears from it, a moment
// before the other.
const settleLimit = 2 * time.Second

// Connections lists the subsystems whose NQN begins with the prefix. The State is empty for a subsystem that has lost
// every controller and still exists because its device is in use. The State is "new" for a connect of this Initiator
// that the kernel hasn't answered yet. It returns ErrNoDevice if sysfs and /dev disagree for longer than two seconds,
// or if a subsystem has several devices.
func (i *Initiator) Connections(ctx context.Context, nqnPrefix string) ([]Connection, error) {
	settled := time.Now().Add(settleLimit)
	for delay := backOff(0); ; {
		connections, err := i.connections(nqnPrefix)
		if err == nil || !errors.Is(err, ErrNoDevice) || !time.Now().Before(settled) {
			return connections, err
		}
		if !delay.wait(ctx) {
			return nil, err
		}
	}
}

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
	for _, nqn := range i.connects.withPrefix(nqnPrefix) {
		if !slices.ContainsFunc(connections, func(c Connection) bool { return c.SubsystemNQN == nqn && c.State != "" }) {
			connections = append(connections, Connection{SubsystemNQN: nqn, State: "new"})
		}
	}
	return connections, nil
}

// Disconnect ends every connection to exactly this subsystem, including one that the kernel is still making; having
// none is success. If the network drops every packet, that can take two minutes. If ctx ends first, the kernel goes on.
func (i *Initiator) Disconnect(ctx context.Context, subsystemNQN string) error {
	for delay := backOff(0); ; {
		// Read before sysfs is: a connect that ends in between is then either pending here or found there.
		connecting := slices.Contains(i.connects.withPrefix(subsystemNQN), subsystemNQN)
		found, err := i.find(subsystemNQN)
		if err != nil || len(found.controllers) == 0 && !connecting {
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
		if !delay.wait(ctx) {
			return fmt.Errorf("disconnect %s: %w", subsystemNQN, ctx.Err())
		}
	}
}

// Rescan has the kernel read the size of the subsystem's namespaces again. It returns ErrUnreachable if no connection
// is live.
func (i *Initiator) Rescan(ctx context.Context, subsystemNQN string) error {
	found, err := i.find(subsystemNQN)
	if err != nil {
		return err
	}
	if found.state() != stateLive {
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

// backOff is the time to wait before sysfs is read again, which announces no change: 5 ms at first, at most 100 ms.
type backOff time.Duration

// wait doubles the time and waits for it. It reports whether the time was over before ctx ended.
func (b *backOff) wait(ctx context.Context) bool {
	*b = backOff(min(max(2*time.Duration(*b), 5*time.Millisecond), 100*time.Millisecond))
	select {
	case <-time.After(time.Duration(*b)):
		return true
	case <-ctx.Done():
		return false
	}
}
