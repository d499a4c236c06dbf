package rds

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrRefused says that a target answered and doesn't let a host in.
var ErrRefused = errors.New("the target doesn't let the host in")

// Connection is a connection to a subsystem, as a node has one.
type Connection interface {
	// Ended is closed when the connection is over, and EndedAt then returns since when.
	Ended() <-chan struct{}
	EndedAt() time.Time
	// Close ends the connection.
	Close()
}

// The hosts that connect in the check, and the nodes that they stand for.
const (
	oldHost       = "nqn.2014-08.org.nvmexpress:uuid:2858e678-30cd-59fc-b99c-aad029ba4476"
	newHost       = "nqn.2014-08.org.nvmexpress:uuid:7d4f0c52-5a0e-5b57-9f6e-8f6a5c1f3f0e"
	oldNode       = "appliance-check-old/2858e678-30cd-59fc-b99c-aad029ba4476"
	newNode       = "appliance-check-new/7d4f0c52-5a0e-5b57-9f6e-8f6a5c1f3f0e"
	neighbourNode = "appliance-check-other/0a6c1de4-8f0b-5c35-8f77-3f5a4a0f8d11"
)

const (
	// connectTimeout bounds how long the target may take to let a host in that it should. A port that was closed with the last
	// export opens again in that time.
	connectTimeout = 5 * time.Second
	connectPause   = 50 * time.Millisecond
	// defaultEndTimeout bounds how long a connection may outlive the answer that it was revoked.
	defaultEndTimeout = 10 * time.Second
	// lateEnd is how long after the answer a connection may end without --fence-delay: the new holder learns of it no sooner.
	lateEnd = 50 * time.Millisecond
)

// fence finds out whether the driver's switch of a holder ends the old one's access. It does so with no other export, if
// there is none, and beside another one: the kernel's target closes its port with the last export.
func (c *Checker) fence(ctx context.Context, _ Disk) error {
	others, err := c.exports(ctx)
	if err != nil {
		return err
	}
	if others == 0 {
		if err := c.takeOver(ctx, "fence, alone"); err != nil {
			return err
		}
	} else {
		c.note("fence, alone", ResultNote, fmt.Sprintf("not tried: %d other disks are exported; try it on an appliance at rest", others))
	}
	neighbour, err := c.create(ctx, c.neighbour)
	if err != nil {
		return err
	}
	if neighbour, err = c.publish(ctx, neighbour, neighbourNode); err != nil {
		return err
	}
	beside, err := c.reach(ctx, neighbour.SubsystemNQN, oldHost)
	if err != nil {
		return fmt.Errorf("connect to another export: %w", err)
	}
	defer beside.Close()
	if err := c.takeOver(ctx, "fence, beside another export"); err != nil {
		return err
	}
	select {
	case <-beside.Ended():
		return errors.New("a connection to another export ended as well: every volume loses its connection when one changes hands")
	default:
		return nil
	}
}

// exports returns how many disks are exported. The check exports none of its own at the time.
func (c *Checker) exports(ctx context.Context) (exported int, err error) {
	answer, err := c.client.surveyDisks(ctx, KindCheck)
	for _, item := range answer.disks {
		if item.Exported {
			exported++
		}
	}
	return exported, err
}

// takeOver publishes the probe disk to one node and then to another, as if the first had died, and takes it from that one.
func (c *Checker) takeOver(ctx context.Context, name string) error {
	disk, err := c.client.Get(ctx, c.id)
	if err != nil {
		return err
	}
	first, err := c.publish(ctx, disk, oldNode)
	if err != nil {
		return err
	}
	held, err := c.reach(ctx, first.SubsystemNQN, oldHost)
	if err != nil {
		return fmt.Errorf("%s: connect as the holder: %w; run the check where a node could run, with the --nvme-address that nodes use", name, err)
	}
	defer held.Close()
	second, err := c.publish(ctx, first, newNode)
	if err != nil {
		return err
	}
	late, err := c.over(ctx, held, time.Now())
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	next, err := c.reach(ctx, second.SubsystemNQN, newHost)
	if err != nil {
		return fmt.Errorf("%s: connect as the next holder: %w", name, err)
	}
	defer next.Close()
	// The port is open now: next came through it.
	if err := c.shutOut(ctx, first.SubsystemNQN, oldHost); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	free, err := c.client.Unpublish(ctx, second, second.Record.Unpublish(newNode))
	if err != nil {
		return err
	}
	withdrawn, err := c.over(ctx, next, time.Now())
	if err != nil {
		return fmt.Errorf("%s: after the last holder left: %w", name, err)
	}
	for _, nqn := range []string{first.SubsystemNQN, second.SubsystemNQN, free.SubsystemNQN} {
		if err := c.shutOut(ctx, nqn, newHost); err != nil {
			return fmt.Errorf("%s: after the last holder left: %w", name, err)
		}
	}
	c.noteFence(name, max(late, withdrawn))
	return nil
}

// noteFence reports a fence that works, with how long after the answer a connection ended.
func (c *Checker) noteFence(name string, late time.Duration) {
	result, advice := ResultOK, ""
	if late > lateEnd {
		result = ResultNote
		advice = fmt.Sprintf("; set --fence-delay=%s", (2*late).Truncate(lateEnd)+lateEnd)
	}
	c.note(name, result, fmt.Sprintf("the old holder's connection ended %d ms after the answer, its subsystem NQN is refused, and the next holder's is let in%s", late.Milliseconds(), advice))
}

// publish gives a disk of the check to a node, as the driver would.
func (c *Checker) publish(ctx context.Context, disk Disk, node string) (Disk, error) {
	return c.client.Publish(ctx, disk, disk.Record.Publish(node, "block", "single-node-writer", false))
}

// reach connects, and tries for a while if the target doesn't answer.
func (c *Checker) reach(ctx context.Context, subsystemNQN, hostNQN string) (Connection, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	for {
		connection, err := c.Connect(ctx, subsystemNQN, hostNQN)
		if err == nil || errors.Is(err, ErrRefused) {
			return connection, err
		}
		select {
		case <-time.After(connectPause):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// over waits until a connection is over, and returns how long after the appliance's answer that was.
func (c *Checker) over(ctx context.Context, connection Connection, answered time.Time) (late time.Duration, err error) {
	select {
	case <-connection.Ended():
		return max(0, connection.EndedAt().Sub(answered)), nil
	case <-time.After(c.EndTimeout):
		return 0, fmt.Errorf("the connection of a holder is still open %s after its access was revoked: a dead node that comes back writes to the volume", c.EndTimeout)
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// shutOut returns an error if a host is let in.
func (c *Checker) shutOut(ctx context.Context, subsystemNQN, hostNQN string) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	connection, err := c.Connect(ctx, subsystemNQN, hostNQN)
	if err == nil {
		connection.Close()
		return fmt.Errorf("the target lets a host in under the subsystem NQN %s, which was revoked: a dead node that comes back writes to the volume", subsystemNQN)
	}
	return ctx.Err() // refused, or the port is closed because nothing is exported
}
