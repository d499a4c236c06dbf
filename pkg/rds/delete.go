package rds

import (
	"context"
	"errors"
	"fmt"
)

// Delete removes the volume's disk and its backing file, and verifies that both are gone. What is gone already is fine.
//
// Errors: ErrWentBack if the record's generation is below granted, or below what this client has seen: what an outdated
// record says of holders doesn't count. ErrHeld while the record names a holder. *ChangedError if somebody wrote to the
// disk in between. ErrNotReady while absence can't be proven. ErrNotOurs, ErrUnreadable, ErrElsewhere, ErrUnreachable,
// ErrUnknownOutcome, or a *CommandError.
func (c *Client) Delete(ctx context.Context, id VolumeID, granted uint64) error {
	now, err := c.look(ctx, id)
	if err != nil {
		return err
	}
	// What can't be verified afterwards isn't begun.
	if err := now.absenceProven(); err != nil {
		return fmt.Errorf("delete volume %s: %w", id, err)
	}
	disk, err := now.disk()
	switch {
	case errors.Is(err, ErrNotFound):
		return c.removeFile(ctx, id)
	case err != nil:
		return err
	}
	disk = c.cache(disk)
	switch {
	case disk.WentBack(granted):
		return fmt.Errorf("delete volume %s: %w: its record is of generation %d, and %d was seen or granted", id, ErrWentBack, disk.Record.Generation, max(granted, disk.Highest))
	case disk.Record.Held():
		return fmt.Errorf("delete volume %s: %w by %v", id, ErrHeld, disk.Record.Holding.Holders)
	}
	// The first write gives the disk a comment that nobody has seen: a publish still in flight misses its condition.
	disk, err = c.Unpublish(ctx, disk, disk.Record.Unpublish(""))
	if err != nil {
		return err
	}
	after, err := c.write(ctx, KindDelete, id, func(cmd *command) {
		remove := fmt.Sprintf("/disk remove [find where %s]", cmd.carries(id.Slot(), disk.comment))
		cmd.act(remove, removeFileStatement(cmd, id))
	})
	if err != nil {
		return fmt.Errorf("delete volume %s: %w", id, err)
	}
	return c.verifyRemoved(ctx, id, after)
}

// removeFile removes a backing file that an earlier Delete left behind.
func (c *Client) removeFile(ctx context.Context, id VolumeID) error {
	after, err := c.write(ctx, KindDelete, id, func(cmd *command) { cmd.act(removeFileStatement(cmd, id)) })
	if err != nil {
		return fmt.Errorf("remove the backing file of volume %s: %w", id, err)
	}
	return c.verifyRemoved(ctx, id, after)
}

// removeFileStatement returns the statement that removes the backing file if no disk refers to it.
func removeFileStatement(cmd *command, id VolumeID) string {
	return fmt.Sprintf(`:if ([:len [/disk find where slot=%s]] = 0 && [:len [/disk find where %s]] = 0) do={ /file remove [find where name=%s] }`,
		cmd.quoted(id.Slot()), cmd.refersTo(id.file()), cmd.quoted(id.file().inFile()))
}

// verifyRemoved returns nil if the state after a removal shows neither disk nor file, whatever RouterOS said.
func (c *Client) verifyRemoved(ctx context.Context, id VolumeID, after state) error {
	c.invalidate(id)
	disk, err := after.disk()
	switch {
	case errors.Is(err, ErrNotFound):
		c.purge(id)
		return c.verifyFileGone(ctx, id, after)
	case err != nil:
		return err
	case after.reply.refused != nil:
		return fmt.Errorf("delete volume %s: %w", id, after.reply.refused)
	default:
		return &ChangedError{Now: disk}
	}
}
