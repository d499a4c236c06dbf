package rds

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
)

// ErrIntact is the error of Mend for a disk whose record is as the driver wrote it.
var ErrIntact = errors.New("nothing to mend")

// Mend writes the record of a disk anew whose comment is none that this driver wrote: it was cut or overwritten, or the
// disk was added by hand. Nobody holds the volume afterwards, and nobody can reach it before it is published again: who
// held it can't be known. name is the name that the volume was created under. Empty stands for the one in the damaged
// record.
//
// Errors: ErrIntact; ErrNotOurs if the comment names another cluster, or if the disk isn't one of that volume; a
// *FieldError if the name is missing, or if the comment has characters that can't be sent. Those of Get,
// ErrUnknownOutcome, or a *CommandError.
func (c *Client) Mend(ctx context.Context, id VolumeID, name string) (Disk, error) {
	now, err := c.look(ctx, id)
	if err != nil {
		return Disk{}, err
	}
	if _, err := now.disk(); err == nil {
		return Disk{}, fmt.Errorf("volume %s: %w: its record is intact", id, ErrIntact)
	} else if len(now.reply.disks) != 1 {
		return Disk{}, err
	}
	item := now.reply.disks[0]
	if item.Type != "file" || item.Slot != id.slot || newFilePath(item.FilePath) != id.file() {
		return Disk{}, fmt.Errorf("volume %s: %w: the disk in slot %q is of type %q on %q", id, ErrNotOurs, item.Slot, item.Type, item.FilePath)
	}
	if cluster := fieldOf(item.Comment, "cluster"); cluster != "" && cluster != id.Cluster() {
		return Disk{}, fmt.Errorf("volume %s: %w: its comment says that it belongs to cluster %q; empty the comment first if that is over", id, ErrNotOurs, cluster)
	}
	if name = cmp.Or(name, fieldOf(item.Comment, FieldVolume)); name == "" {
		return Disk{}, &FieldError{Field: FieldVolume, Want: "the name that the volume was created under, since its comment doesn't have it any more"}
	}
	if err := checkQuotable(item.Comment); err != nil {
		return Disk{}, fmt.Errorf("volume %s: its comment can't be the condition of a write; empty it first: %w", id, err)
	}
	change := recordSwitch{kind: KindUnpublish, seen: Disk{ID: id, comment: item.Comment}, next: NewRecord(id, name, "", ""), fence: true}
	return c.switchRecord(ctx, change)
}

// fieldOf returns the value of a field of a comment that isn't a whole record. It is empty for a field at the end, which may
// have been cut.
func fieldOf(comment, key string) string {
	_, rest, _ := strings.Cut(comment, " "+key+"=")
	value, _, whole := strings.Cut(rest, " ")
	if !whole {
		return ""
	}
	return value
}
