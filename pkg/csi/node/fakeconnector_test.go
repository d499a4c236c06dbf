package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
	"k8s.io/mount-utils"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/node/host"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
)

// fakeConnector is a target that admits some subsystems, and the kernel's connections to it.
type fakeConnector struct {
	folder       string
	mounts       *fakeMounts
	admits       map[string]bool
	devices      map[string]string
	states       map[string]string // by NQN; "live" where nothing is set
	rescanned    []string
	onRescan     func()
	onDisconnect func()
	onConnect    func()
	onLook       func()
	made         int
	connects     int
	connecting   chan struct{}
	disconnected []string
	owners       map[host.DeviceNumber]string // the NQN that a device was made for
	distinct     bool                         // each epoch has an identity of its own
	hangs        bool                         // in disconnecting
	silent       bool                         // the target doesn't answer a connect
	fails        error
}

func (c *fakeConnector) Connect(ctx context.Context, target nvme.Target) error {
	c.connects++
	if c.connecting != nil {
		<-c.connecting
	}
	if c.silent {
		<-ctx.Done()
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if c.onConnect != nil {
		c.onConnect()
	}
	if _, connected := c.devices[target.SubsystemNQN]; connected {
		return nil
	}
	if !c.admits[target.SubsystemNQN] {
		return errors.New("refused")
	}
	c.devices[target.SubsystemNQN] = ""
	return nil
}

// Device shows no device, as Linux does, while another one of the same identity is connected or mounted.
func (c *fakeConnector) Device(ctx context.Context, nqn string) (string, error) {
	device, connected := c.devices[nqn]
	switch {
	case !connected:
		return "", errors.New("lost")
	case device != "":
		return device, nil
	case !c.distinct && c.usedUnderAnother(nqn):
		<-ctx.Done()
		return "", errors.New("duplicate IDs")
	default:
		return c.attach(nqn)
	}
}

// usedUnderAnother tells whether the volume is connected or mounted under another epoch.
func (c *fakeConnector) usedUnderAnother(nqn string) bool {
	mounts, _ := c.mounts.Mounts()
	return len(c.devices) > 1 || slices.ContainsFunc(mounts, func(m mount.MountInfo) bool {
		owner, owned := c.owners[host.DeviceNumber(unix.Mkdev(uint32(m.Major), uint32(m.Minor)))]
		return owned && owner != nqn
	})
}

// attach gives the subsystem a device of its own name with the content that the volume has.
func (c *fakeConnector) attach(nqn string) (string, error) {
	device := filepath.Join(c.folder, fmt.Sprintf("nvme%dn1", c.made))
	c.made++
	c.mounts.numbers[device] = host.DeviceNumber(unix.Mkdev(259, uint32(c.made)))
	c.owners[c.mounts.numbers[device]] = nqn
	c.devices[nqn] = device
	image := filepath.Join(c.folder, "image")
	if _, err := os.Stat(image); err != nil {
		if err := os.WriteFile(image, make([]byte, 4<<20), 0o600); err != nil {
			return "", err
		}
	}
	return device, os.Link(image, device)
}

func (c *fakeConnector) Connections(_ context.Context, prefix string) ([]nvme.Connection, error) {
	if c.onLook != nil {
		c.onLook()
	}
	var connections []nvme.Connection
	for nqn, device := range c.devices {
		if strings.HasPrefix(nqn, prefix) {
			connections = append(connections, nvme.Connection{SubsystemNQN: nqn, Device: device, State: cmp.Or(c.states[nqn], stateLive)})
		}
	}
	return connections, c.fails
}

func (c *fakeConnector) Disconnect(ctx context.Context, nqn string) error {
	if c.hangs {
		<-ctx.Done()
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	delete(c.devices, nqn)
	c.disconnected = append(c.disconnected, nqn)
	if c.onDisconnect != nil {
		c.onDisconnect()
	}
	return nil
}

func (c *fakeConnector) Rescan(_ context.Context, nqn string) error {
	c.rescanned = append(c.rescanned, nqn)
	if c.onRescan != nil {
		c.onRescan()
	}
	return nil
}

// lose does what the kernel does when it gives a connection up: the controller and the device are gone, mounts stay.
func (c *fakeConnector) lose(nqn string) {
	delete(c.mounts.numbers, c.devices[nqn])
	delete(c.devices, nqn)
}
