package rds

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"k8s.io/klog/v2"
)

// Client is one appliance. It is safe for concurrent use. It caches each disk as it last saw it, which saves a read before
// a write. Every such write is conditional: an outdated cache costs one more exec and no more.
type Client struct {
	transport Transport
	config    Config

	mu       sync.Mutex
	lastSeen map[VolumeID]Disk
	highest  map[VolumeID]generation
	// looks counts how often a disk was cached.
	looks uint64
}

// generation is the highest generation of a disk's record that was seen, with the subsystem NQN that followed from it.
type generation struct {
	number       uint64
	subsystemNQN string
	// look is when the disk was cached last, by the count of looks.
	look uint64
}

// New checks the configuration and returns a client of the appliance behind transport. Errors are *FieldError.
func New(config Config, transport Transport) (*Client, error) {
	if err := config.check(); err != nil {
		return nil, err
	}
	if config.Observe == nil {
		config.Observe = func(Kind, Outcome, time.Duration) {}
	}
	return &Client{transport: transport, config: config, lastSeen: map[VolumeID]Disk{}, highest: map[VolumeID]generation{}}, nil
}

// Close closes the transport. Operations in flight fail, later ones return ErrUnreachable.
func (c *Client) Close() { c.transport.Close() }

// LastSeen returns a disk as this client last saw it, if it did. Only a conditional write may be based on it.
func (c *Client) LastSeen(id VolumeID) (Disk, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	disk, found := c.lastSeen[id]
	return disk, found
}

// cache stores a disk as it was seen, and returns it with the highest generation that was seen.
func (c *Client) cache(disk Disk) Disk {
	c.mu.Lock()
	defer c.mu.Unlock()
	disk.expectedHost = c.hostOf(disk.Record)
	highest := c.highest[disk.ID]
	if highest.number <= disk.Record.Generation {
		highest.number, highest.subsystemNQN = disk.Record.Generation, disk.Record.SubsystemNQN(disk.ID)
	}
	c.looks++
	highest.look = c.looks
	c.highest[disk.ID] = highest
	disk.Highest, disk.HighestNQN = highest.number, highest.subsystemNQN
	c.lastSeen[disk.ID] = disk
	return disk
}

// hostOf returns the only host that an export with this record may admit. Empty means any.
func (c *Client) hostOf(record Record) string {
	if c.config.HostNQN == nil || len(record.Holding.Holders) != 1 {
		return ""
	}
	return c.config.HostNQN(record.Holding.Holders[0])
}

// now returns the count of looks.
func (c *Client) now() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.looks
}

// purgeUnlisted drops everything about disks that a complete list doesn't have, unless they were seen since it was asked
// for. Another controller deleted them.
func (c *Client) purgeUnlisted(items []diskItem, asked uint64) {
	listed := map[string]bool{}
	for _, item := range items {
		if item.Slot == "" {
			return // it can't be told which disk this is
		}
		listed[item.Slot] = true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, highest := range c.highest {
		if !listed[id.Slot()] && highest.look <= asked {
			delete(c.lastSeen, id)
			delete(c.highest, id)
		}
	}
}

// purge drops everything about a disk that was deleted. A disk of the same name begins anew.
func (c *Client) purge(id VolumeID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.lastSeen, id)
	delete(c.highest, id)
}

// invalidate drops the cached disk, but not the highest generation that was seen.
func (c *Client) invalidate(id VolumeID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.lastSeen, id)
}

// run sends a command and decodes the answer. Errors: ErrUnreachable (nothing was sent), *CommandError (nothing was
// run), *FieldError (a text can't be sent), ErrIncomplete (it may have run).
func (c *Client) run(ctx context.Context, cmd *command) (answer reply, err error) {
	start := time.Now()
	defer func() { c.config.Observe(cmd.kind, outcomeOf(errors.Join(err, answer.refused)), time.Since(start)) }()
	line, err := cmd.line()
	if err != nil {
		return reply{}, err
	}
	output, err := c.transport.Exec(ctx, line)
	klog.FromContext(ctx).V(5).Info("Appliance answered", "command", line, "output", output, "took", time.Since(start), "err", err)
	if err != nil {
		return reply{}, err
	}
	if answer, err = readReply(cmd, output); err == nil {
		c.observeState(cmd, answer)
	}
	return answer, err
}

// attempts bounds how often an operation repeats its idempotent statements after a lost reply.
const attempts = 3

// write runs statements that are safe to repeat and returns the state after them. When a reply is lost it runs them
// again, since only a reply shows the state. If that fails too, the outcome is unknown.
func (c *Client) write(ctx context.Context, kind Kind, id VolumeID, build func(*command)) (state, error) {
	if err := c.ours(id); err != nil {
		return state{}, err
	}
	var lost error
	for range attempts {
		cmd := newCommand(kind)
		build(cmd)
		cmd.showState(id)
		answer, err := c.run(ctx, cmd)
		if err == nil {
			return c.state(id, answer), nil
		}
		if lost == nil && !errors.Is(err, ErrIncomplete) {
			return state{}, err
		}
		if lost == nil {
			lost = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return state{}, fmt.Errorf("volume %s: %w: %w", id, ErrUnknownOutcome, lost)
}

// ours returns ErrNotOurs if a volume isn't this cluster's, and ErrOtherAppliance if it is on another appliance. Its disk
// and its backing file are not even looked at: to a cluster whose volume it isn't, what is missing proves nothing.
func (c *Client) ours(id VolumeID) error {
	switch {
	case id.appliance != "":
		here := id
		here.appliance = ""
		return fmt.Errorf("volume %s: %w, and this driver serves one that has no name; use the driver that serves %q or, if both are one, make the PersistentVolume anew with the volumeHandle %s",
			id, ErrOtherAppliance, id.appliance, here)
	case id.Cluster() != c.config.ClusterID:
		return fmt.Errorf("volume %s: %w: it belongs to cluster %q, not to %q", id, ErrNotOurs, id.Cluster(), c.config.ClusterID)
	default:
		return nil
	}
}

func (c *Client) state(id VolumeID, answer reply) state {
	return state{id: id, cluster: c.config.ClusterID, reply: answer, boot: c.config.BootWindow}
}
