package rds

import (
	"context"
	"fmt"
)

// Publish writes next as the record of a disk, and exports the disk under the subsystem NQN that follows from next. seen is
// the disk as the caller last saw it. The export is taken away first, which ends every connection under an older NQN.
//
// If the export matches the record, and next has the same epoch, the export stays on. Only the record and the allowed host
// change. That is so when a second holder joins the first, and when the allowed host is corrected: nodes that are connected
// stay connected.
//
// Publish also repairs. If next is the record that the disk has already, NQN and export are made to agree with it.
//
// Errors: *ChangedError if somebody else wrote to the disk in between, and then nothing was changed. Those of Get,
// ErrUnknownOutcome, or a *CommandError.
func (c *Client) Publish(ctx context.Context, seen Disk, next Record) (Disk, error) {
	joins := seen.exportMatches() && seen.Record.Held() && next.Holding.Epoch == seen.Record.Holding.Epoch
	if joins {
		// Any of the holders may leave first. The record must have room for its departure.
		for _, holder := range next.Holding.Holders {
			if _, err := next.Depart(holder).Encode(); err != nil {
				return Disk{}, err
			}
		}
	}
	return c.switchRecord(ctx, recordSwitch{kind: KindPublish, seen: seen, next: next, fence: !joins})
}

// Unpublish writes next as the record of a disk. seen is the disk as the caller last saw it. If next has no holder, the
// export is taken away, which ends every connection. If a holder stays, NQN and export stay as they are. Errors as for
// Publish.
func (c *Client) Unpublish(ctx context.Context, seen Disk, next Record) (Disk, error) {
	return c.switchRecord(ctx, recordSwitch{kind: KindUnpublish, seen: seen, next: next, fence: !next.Held()})
}

// Withdraw takes the export away and leaves the record as it is. It is for a record that can't be trusted: nobody can reach
// the disk any more, and the record still shows what is wrong. Errors as for Publish.
func (c *Client) Withdraw(ctx context.Context, seen Disk) (_ Disk, err error) {
	id, fence := seen.ID, c.newFence(seen)
	defer func() { fence.ended(err) }()
	disk, after, err := c.writeDisk(ctx, KindUnpublish, id, func(cmd *command) {
		cmd.act(fmt.Sprintf("/disk set [find where %s] nvme-tcp-export=no", cmd.carries(id.Slot(), seen.comment)))
	})
	fence.answered(disk, err)
	switch {
	case err != nil:
		return Disk{}, fmt.Errorf("withdraw the export of volume %s: %w", id, err)
	case disk.comment != seen.comment:
		return Disk{}, &ChangedError{Now: disk}
	case !disk.Exported:
		return disk, nil
	case after.reply.refused != nil:
		return Disk{}, fmt.Errorf("withdraw the export of volume %s: %w", id, after.reply.refused)
	default:
		return Disk{}, fmt.Errorf("withdraw the export of volume %s: %w: the appliance neither did nor refused it", id, ErrUnknownOutcome)
	}
}

// writeDisk runs statements that change a disk, and returns the disk and the state after them. After an error the cached
// disk is dropped: nobody knows what it has become.
func (c *Client) writeDisk(ctx context.Context, kind Kind, id VolumeID, build func(*command)) (Disk, state, error) {
	after, err := c.write(ctx, kind, id, build)
	var disk Disk
	if err == nil {
		disk, err = after.disk()
	}
	if err != nil {
		c.invalidate(id)
		return Disk{}, after, err
	}
	return c.cache(disk), after, nil
}

// recordSwitch is one change of a disk's record, with the export that belongs to it.
type recordSwitch struct {
	kind Kind
	// seen is the disk on whose record the change was decided: the change's condition.
	seen Disk
	next Record
	// comment is next as text, and host the only host that it admits.
	comment, host string
	// fence takes the export away first, and restores it only if next has a holder.
	fence bool
	// size, unless it is 0, is the least size in bytes that the backing file is to have afterwards.
	size int64
}

// switchRecord writes the next record under the condition that the disk still carries the comment that was seen.
func (c *Client) switchRecord(ctx context.Context, change recordSwitch) (_ Disk, err error) {
	id, fence := change.seen.ID, c.newFence(change.seen)
	if change.fence {
		defer func() { fence.ended(err) }()
	}
	comment, err := change.next.Encode()
	if err != nil {
		return Disk{}, err
	}
	change.comment, change.host = comment, c.hostOf(change.next)
	for range attempts {
		disk, after, err := c.writeDisk(ctx, change.kind, id, func(cmd *command) { cmd.act(change.statements(cmd)...) })
		fence.answered(disk, err)
		switch {
		case err != nil:
			return Disk{}, fmt.Errorf("write the record of volume %s: %w", id, err)
		case disk.comment == comment && (disk.Consistent() || !change.fence && comment != change.seen.comment) && disk.Size >= change.size:
			return disk, nil
		case disk.comment != comment && disk.comment != change.seen.comment:
			return Disk{}, &ChangedError{Now: disk}
		case after.reply.refused != nil && after.lacks(change.size-disk.Size):
			return Disk{}, fmt.Errorf("expand volume %s: %w: pool %q has %d bytes free: %w", id, ErrNoSpace, id.Pool(), after.poolFree(), after.reply.refused)
		case after.reply.refused != nil:
			return Disk{}, fmt.Errorf("write the record of volume %s: %w", id, after.reply.refused)
		}
	}
	return Disk{}, fmt.Errorf("write the record of volume %s: %w: the appliance neither kept nor refused it", id, ErrUnknownOutcome)
}

// statements returns the statements of the change. Each has a condition of its own, on the old record or on the new one.
// Another session may write between two of them; then the condition of those that follow matches nothing.
func (s recordSwitch) statements(cmd *command) []string {
	where := func(comment string) string { return "[find where " + cmd.carries(s.seen.ID.Slot(), comment) + "]" }
	if !s.fence {
		statements := []string{fmt.Sprintf("/disk set %s comment=%s%s", where(s.seen.comment), cmd.quoted(s.comment), s.allow(cmd))}
		if s.size > 0 {
			statements = append(statements, fmt.Sprintf("/disk set %s file-size=%d", where(s.comment), s.size))
		}
		return statements
	}
	statements := []string{
		fmt.Sprintf("/disk set %s nvme-tcp-export=no", where(s.seen.comment)),
		// The export is switched off once more: somebody may have switched it on again, and it isn't known whether RouterOS
		// changes the NQN of an exported disk.
		fmt.Sprintf("/disk set %s nvme-tcp-export=no nvme-tcp-server-nqn=%s comment=%s%s", where(s.seen.comment), cmd.quoted(s.next.SubsystemNQN(s.seen.ID)), cmd.quoted(s.comment), s.allow(cmd)),
	}
	if s.next.Held() {
		statements = append(statements, fmt.Sprintf("/disk set %s nvme-tcp-export=yes", where(s.comment)))
	}
	return statements
}

// allow returns what a set says about the host that may connect. It is empty if every host may, and might before.
func (s recordSwitch) allow(cmd *command) string {
	if s.host == "" && s.seen.AllowedHost == "" {
		return ""
	}
	return " nvme-tcp-server-allow-host-name=" + cmd.quoted(s.host)
}
