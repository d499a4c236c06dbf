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
// A holder that comes in under the epoch of one that is connected doesn't switch anything: only the record changes, and
// which host is allowed. So does a host that wasn't the right one: whoever is connected must not be cut off when hosts begin
// to be restricted.
//
// It also repairs: with next equal to the record that the disk carries, it sets NQN and export to agree with it.
func (c *Client) Publish(ctx context.Context, seen Disk, next Record) (Disk, error) {
	joins := seen.exportFits() && seen.Record.Held() && next.Holding.Epoch == seen.Record.Holding.Epoch
	if joins {
		// Whichever of the two leaves first, its departure has to fit into the record as well.
		for _, holder := range next.Holding.Holders {
			if _, err := next.Depart(holder).Encode(); err != nil {
				return Disk{}, err
			}
		}
	}
	return c.switchRecord(ctx, recordSwitch{kind: KindPublish, seen: seen, next: next, fence: !joins})
}

// Unpublish makes next the record of a disk that was seen as seen. If next has no holder, the export is taken away, which
// ends every connection; if a holder stays, NQN and export are left alone. Errors as for Publish.
func (c *Client) Unpublish(ctx context.Context, seen Disk, next Record) (Disk, error) {
	return c.switchRecord(ctx, recordSwitch{kind: KindUnpublish, seen: seen, next: next, fence: !next.Held()})
}

// Withdraw takes the export away and leaves the record as it was seen, for one that can't be trusted: nobody can reach the
// disk any more, and it still shows what is wrong with it. Errors as for Publish.
func (c *Client) Withdraw(ctx context.Context, seen Disk) (Disk, error) {
	id := seen.ID
	after, err := c.write(ctx, KindUnpublish, id, func(cmd *command) {
		cmd.act(fmt.Sprintf("/disk set [find where slot=%s comment=%s] nvme-tcp-export=no", cmd.quoted(id.Slot()), cmd.quoted(seen.comment)))
	})
	if err != nil {
		c.forget(id)
		return Disk{}, fmt.Errorf("withdraw the export of volume %s: %w", id, err)
	}
	disk, err := after.disk()
	if err != nil {
		c.forget(id)
		return Disk{}, err
	}
	disk = c.remember(disk)
	switch {
	case disk.comment != seen.comment:
		return Disk{}, &ChangedError{Now: disk}
	case after.reply.refused != nil:
		return Disk{}, fmt.Errorf("withdraw the export of volume %s: %w", id, after.reply.refused)
	case disk.Exported:
		return Disk{}, fmt.Errorf("withdraw the export of volume %s: %w: the appliance neither did nor refused it", id, ErrUnknownOutcome)
	}
	return disk, nil
}

// recordSwitch is one change of a disk's record.
type recordSwitch struct {
	kind Kind
	// seen is the disk on whose record the change was decided: the change's condition.
	seen Disk
	next Record
	// comment is next as text, and host the only host that it admits.
	comment, host string
	// fence takes the export away first, and gives it back only if next has a holder.
	fence bool
	// size, unless it is 0, is the least size in bytes that the backing file is to have afterwards.
	size int64
}

// switchRecord writes the next record under the condition that the disk still carries the comment that was seen.
func (c *Client) switchRecord(ctx context.Context, change recordSwitch) (Disk, error) {
	id := change.seen.ID
	comment, err := change.next.Encode()
	if err != nil {
		return Disk{}, err
	}
	change.comment, change.host = comment, c.hostOf(change.next)
	for range attempts {
		after, err := c.write(ctx, change.kind, id, func(cmd *command) { cmd.act(change.statements(cmd)...) })
		if err != nil {
			c.forget(id)
			return Disk{}, fmt.Errorf("write the record of volume %s: %w", id, err)
		}
		disk, err := after.disk()
		if err != nil {
			c.forget(id)
			return Disk{}, err
		}
		disk = c.remember(disk)
		switch {
		case disk.comment == comment && (disk.Consistent() || !change.fence && comment != change.seen.comment) && disk.Size >= change.size:
			return disk, nil
		case disk.comment != comment && disk.comment != change.seen.comment:
			return Disk{}, &ChangedError{Now: disk}
		case after.reply.refused != nil && after.poolFree() < change.size-disk.Size:
			return Disk{}, fmt.Errorf("expand volume %s: %w: pool %q has %d bytes free: %w", id, ErrNoSpace, id.Pool(), after.poolFree(), after.reply.refused)
		case after.reply.refused != nil:
			return Disk{}, fmt.Errorf("write the record of volume %s: %w", id, after.reply.refused)
		}
	}
	return Disk{}, fmt.Errorf("write the record of volume %s: %w: the appliance neither kept nor refused it", id, ErrUnknownOutcome)
}

// statements gives each set a condition of its own, on the old record or on the new one: whatever another session does
// between two of them, a statement that has lost its ground matches nothing.
func (s recordSwitch) statements(cmd *command) []string {
	slot := cmd.quoted(s.seen.ID.Slot())
	where := func(comment string) string {
		return fmt.Sprintf("[find where slot=%s comment=%s]", slot, cmd.quoted(comment))
	}
	if !s.fence {
		statements := []string{fmt.Sprintf("/disk set %s comment=%s%s", where(s.seen.comment), cmd.quoted(s.comment), s.allow(cmd))}
		if s.size > 0 {
			statements = append(statements, fmt.Sprintf("/disk set %s file-size=%d", where(s.comment), s.size))
		}
		return statements
	}
	statements := []string{
		fmt.Sprintf("/disk set %s nvme-tcp-export=no", where(s.seen.comment)),
		// Said once more: somebody may have switched it on again, and nobody knows whether an exported disk takes a new name.
		fmt.Sprintf("/disk set %s nvme-tcp-export=no nvme-tcp-server-nqn=%s comment=%s%s", where(s.seen.comment), cmd.quoted(s.next.SubsystemNQN(s.seen.ID)), cmd.quoted(s.comment), s.allow(cmd)),
	}
	if s.next.Held() {
		statements = append(statements, fmt.Sprintf("/disk set %s nvme-tcp-export=yes", where(s.comment)))
	}
	return statements
}

// allow is what a set says of the host that may connect: nothing as long as every host may and might before.
func (s recordSwitch) allow(cmd *command) string {
	if s.host == "" && s.seen.AllowedHost == "" {
		return ""
	}
	return " nvme-tcp-server-allow-host-name=" + cmd.quoted(s.host)
}
