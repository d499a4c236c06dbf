package rds

import (
	"context"
	"fmt"
)

// Publish makes next the record of a disk that was seen as seen, and exports it under the subsystem NQN that next
// carries and no other: a fenced switch, which ends every connection under any older NQN. If somebody else wrote to the
// disk in between, nothing is changed and the error is a *ChangedError. Other errors: those of Get, ErrUnknownOutcome,
// or a *CommandError.
//
// It also repairs: with next equal to the record that the disk carries, it sets NQN and export to agree with it.
func (c *Client) Publish(ctx context.Context, seen Disk, next Record) (Disk, error) {
	return c.switchRecord(ctx, seen, next, true)
}

// Unpublish makes next the record of a disk that was seen as seen. If next has no holder, the export is taken away, which
// ends every connection; if a holder stays, NQN and export are left alone. Errors as for Publish.
func (c *Client) Unpublish(ctx context.Context, seen Disk, next Record) (Disk, error) {
	return c.switchRecord(ctx, seen, next, !next.Held())
}

// switchRecord writes next under the condition that the disk still carries the comment that was seen. With fence it
// takes the export away first and gives it back only if next has a holder.
func (c *Client) switchRecord(ctx context.Context, seen Disk, next Record, fence bool) (Disk, error) {
	id := seen.ID
	comment, err := next.Encode()
	if err != nil {
		return Disk{}, err
	}
	build := func(cmd *command) { cmd.act(switchStatements(cmd, seen, next, comment, fence)...) }
	for range attempts {
		after, err := c.write(ctx, id, build)
		if err != nil {
			c.forget(id)
			return Disk{}, fmt.Errorf("write the record of volume %s: %w", id, err)
		}
		disk, err := after.disk()
		if err != nil {
			c.forget(id)
			return Disk{}, err
		}
		c.remember(disk)
		switch {
		case disk.comment == comment && (disk.Consistent() || !fence):
			return disk, nil
		case disk.comment != comment && disk.comment != seen.comment:
			return Disk{}, &ChangedError{Now: disk}
		case after.reply.refused != nil:
			return Disk{}, fmt.Errorf("write the record of volume %s: %w", id, after.reply.refused)
		}
	}
	return Disk{}, fmt.Errorf("write the record of volume %s: %w: the appliance neither kept nor refused it", id, ErrUnknownOutcome)
}

// switchStatements gives each set a condition of its own, on the old record or on the new one: whatever another
// session does between two of them, a statement that has lost its ground matches nothing.
func switchStatements(cmd *command, seen Disk, next Record, comment string, fence bool) []string {
	slot := cmd.quoted(seen.ID.Slot())
	where := func(comment string) string {
		return fmt.Sprintf("[find where slot=%s comment=%s]", slot, cmd.quoted(comment))
	}
	if !fence {
		return []string{fmt.Sprintf("/disk set %s comment=%s", where(seen.comment), cmd.quoted(comment))}
	}
	statements := []string{
		fmt.Sprintf("/disk set %s nvme-tcp-export=no", where(seen.comment)),
		fmt.Sprintf("/disk set %s nvme-tcp-server-nqn=%s comment=%s", where(seen.comment), cmd.quoted(next.SubsystemNQN(seen.ID)), cmd.quoted(comment)),
	}
	if next.Held() {
		statements = append(statements, fmt.Sprintf("/disk set %s nvme-tcp-export=yes", where(comment)))
	}
	return statements
}
