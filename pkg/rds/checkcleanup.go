package rds

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// cleanUpTimeout bounds the removal of the probe disks after an interruption.
const cleanUpTimeout = 30 * time.Second

// cleanUp removes what the checks made, also after a failure, and reports what is still there.
func (c *Checker) cleanUp(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTimeout)
	defer cancel()
	var left []string
	if err := c.removeDisk(ctx, c.shared, sharedComment); err != nil {
		left = append(left, fmt.Sprintf("disk %s: %v", c.shared, err))
	}
	for _, id := range []VolumeID{c.id, c.kept, c.neighbour} {
		if err := c.remove(ctx, id); err != nil {
			left = append(left, fmt.Sprintf("%s: %v", c.remains(ctx, id), err))
		}
	}
	if len(left) > 0 {
		c.note("clean-up", ResultFailed, "remove by hand "+strings.Join(left, "; "))
		return
	}
	c.note("clean-up", ResultOK, "the probe disks and their backing files are gone")
}

// remove removes one of the check's disks and its file as the driver would. The driver never removes a disk whose record is
// damaged. One of the check's has a slot that was drawn at random, so it can't be anybody else's.
func (c *Checker) remove(ctx context.Context, id VolumeID) error {
	err := c.client.Delete(ctx, id, 0)
	if errors.Is(err, ErrHeld) {
		err = c.release(ctx, id)
	}
	if !errors.Is(err, ErrUnreadable) {
		return err
	}
	if err := c.removeDisk(ctx, id.Slot(), ""); err != nil {
		return err
	}
	return c.client.Delete(ctx, id, 0)
}

// release removes a disk of the check that an interrupted step left with a holder.
func (c *Checker) release(ctx context.Context, id VolumeID) error {
	disk, err := c.client.Get(ctx, id)
	if err != nil {
		return err
	}
	if _, err := c.client.Unpublish(ctx, disk, disk.Record.Unpublish("")); err != nil {
		return err
	}
	return c.client.Delete(ctx, id, 0)
}

// remains names what is left of one of the check's disks.
func (c *Checker) remains(ctx context.Context, id VolumeID) string {
	now, err := c.client.lookAnyway(ctx, id)
	disk, file := "disk "+id.Slot(), "file "+string(id.file())
	switch {
	case err != nil:
		return fmt.Sprintf("%s and %s, if they are there", disk, file)
	case len(now.reply.disks) == 0:
		return file
	case !now.fileExists():
		return disk
	default:
		return disk + " and " + file
	}
}

// sharedComment marks the second disk, so that nothing else is ever removed in its place.
const sharedComment = "appliance check of the rds-csi driver"

// removeDisk removes a disk that the check made, if it is there. Its file stays. comment, unless it is empty, is the disk's.
func (c *Checker) removeDisk(ctx context.Context, slot, comment string) error {
	cmd := newCommand(KindCheck)
	where := "slot=" + cmd.quoted(slot)
	if comment != "" {
		where += " comment=" + cmd.quoted(comment)
	}
	cmd.act(fmt.Sprintf("/disk remove [find where %s]", where))
	cmd.show(markerProbe, "/disk", probeProperties, "slot="+cmd.quoted(slot))
	answer, err := c.client.run(ctx, cmd)
	switch {
	case err != nil:
		return err
	case len(answer.probes) > 0:
		return fmt.Errorf("disk %s is still there: %w", slot, cmp.Or(answer.refused, ErrUnknownOutcome))
	default:
		return nil
	}
}
