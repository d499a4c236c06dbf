package app

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"k8s.io/klog/v2"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

// errNotAsked is why the appliance isn't contacted before the first attempt has ended.
var errNotAsked = errors.New("it hasn't answered yet")

// contact is the first contact with the appliance since the process began. A wrong address, user, key or version is said at
// once by it, and not only with the first volume.
type contact struct {
	appliance *rds.Client
	address   string
	// made is called with the appliance's disks when it was contacted.
	made func(context.Context, []rds.Disk)
	note func(attach.Note)

	mu sync.Mutex
	// failure is why the appliance wasn't contacted yet; nil once it was.
	failure error
}

func newContact(options *ControllerOptions, appliance *rds.Client, made func(context.Context, []rds.Disk), note func(attach.Note)) *contact {
	return &contact{appliance: appliance, address: options.appliance.ssh.Address, made: made, note: note, failure: errNotAsked}
}

// Run reads the appliance's version and its disks once, as soon as the appliance can be reached, so that the client remembers
// the records. It always returns nil: the appliance may be away for hours, and the calls that need it return errors.
func (c *contact) Run(ctx context.Context) error {
	logger := klog.FromContext(ctx)
	tryUntilDone(ctx, func(ctx context.Context) (bool, error) {
		version, err := c.appliance.Probe(ctx)
		var disks []rds.Disk
		if err == nil {
			disks, err = c.appliance.List(ctx)
		}
		if ctx.Err() != nil {
			return false, ctx.Err() // that is the end of this process, and says nothing about the appliance
		}
		c.mu.Lock()
		c.failure = err
		c.mu.Unlock()
		if err != nil {
			logger.Error(err, "The appliance can't be used yet; trying again (see --rds-address, --rds-user, --rds-private-key, --rds-known-hosts, --rds-host-key-fingerprint)", "address", c.address)
			c.note(attach.Note{Reason: attach.ApplianceUnusable, Warning: true, Message: fmt.Sprintf("The appliance at %s can't be used yet, and is tried again: %v", c.address, err)})
			return false, nil
		}
		logger.Info("Contacted the appliance", "address", c.address, "version", version.Text, "disks", len(disks))
		c.made(ctx, disks)
		return true, nil
	})
	return nil
}

// ready returns nil once the appliance was contacted, else the last failure. A later outage doesn't matter: the process
// recovers from it. So a rollout with a wrong key or address goes no further than its first pod.
func (c *contact) ready() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failure != nil {
		return fmt.Errorf("the appliance at %s can't be used yet: %w", c.address, c.failure)
	}
	return nil
}
