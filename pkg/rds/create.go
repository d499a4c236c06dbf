package rds

import (
	"context"
	"errors"
	"fmt"
)

// Size is the size of a new volume.
type Size struct {
	// Bytes is the size of the backing file.
	Bytes int64
	// Limit, unless it is 0, is the largest size in bytes of a backing file that exists already and may be reused.
	Limit int64
}

// Create makes the volume's disk, not exported and with no holder, on a backing file of that size. If the disk exists
// already under the same cluster and name, that one is returned, whatever its size.
//
// An interrupted Create, or an appliance that lost its configuration, leaves a backing file without a disk. Create makes a
// disk on that file and keeps its content. If the file is too short it grows, now or when Create is called again.
//
// Errors: ErrExists, ErrElsewhere, ErrNoPool, ErrNoSpace, ErrNotReady, ErrNotOurs, ErrUnreadable, ErrUnreachable,
// ErrUnknownOutcome, or a *CommandError with the appliance's words.
func (c *Client) Create(ctx context.Context, id VolumeID, size Size, record Record) (Disk, error) {
	comment, err := record.encodePadded()
	if err != nil {
		return Disk{}, err
	}
	attempt := creation{id: id, size: size, token: record.Token, nqn: record.SubsystemNQN(id), comment: comment, port: c.config.Port}
	add := func(cmd *command) { cmd.act(attempt.statement(cmd)) }
	after, err := c.write(ctx, KindCreate, id, add)
	if err == nil && after.directoryMissing() {
		// This happens with the first volume of a cluster on a pool only.
		if err = c.makeDirectory(ctx, id.directory); err == nil {
			after, err = c.writeInNewDirectory(ctx, id, add)
		}
	}
	if err != nil {
		return Disk{}, fmt.Errorf("create volume %s: %w", id, err)
	}
	disk, err := after.disk()
	if err != nil {
		return Disk{}, explainAbsence(after, size, err)
	}
	if disk.Record.Volume != record.Volume {
		return Disk{}, fmt.Errorf("volume %s: %w: it was created as %q", id, ErrExists, disk.Record.Volume)
	}
	disk = c.cache(disk)
	if disk.unfinished() {
		return c.Expand(ctx, disk, size.Bytes)
	}
	return disk, nil
}

// writeInNewDirectory runs statements that need a directory that was made just now. /file may be late with it.
func (c *Client) writeInNewDirectory(ctx context.Context, id VolumeID, add func(*command)) (after state, err error) {
	for range attempts {
		if after, err = c.write(ctx, KindCreate, id, add); err != nil || !after.directoryMissing() {
			return after, err
		}
		if err := c.awaitListing(ctx); err != nil {
			return state{}, err
		}
	}
	return state{}, fmt.Errorf("%w: /file doesn't list the directory %s, which was made some seconds ago", ErrNotReady, id.directory)
}

// creation is one attempt to make a disk.
type creation struct {
	id                  VolumeID
	size                Size
	token, nqn, comment string
	port                uint16
}

// statement adds the disk only if nothing is in its place: the pool is mounted, its directory exists, the slot is free, and
// no disk refers to the file. A file that exists already may be all that is left of a volume. It is never removed, and no
// size is set, which might empty it. /file lists a file late, so that it doesn't list one proves nothing: only if the
// file can't be attached either, it is made.
func (n creation) statement(cmd *command) string {
	id, slot, inDisk, inFile := n.id, cmd.quoted(n.id.Slot()), cmd.quoted(n.id.file().inDisk()), cmd.quoted(n.id.file().inFile())
	add := func(nqn string) string {
		return fmt.Sprintf("/disk add type=file slot=%s file-path=%s mount-filesystem=no nvme-tcp-export=no nvme-tcp-server-port=%d nvme-tcp-server-nqn=%s comment=%s",
			slot, inDisk, n.port, cmd.quoted(nqn), cmd.quoted(n.comment))
	}
	takeOver := add(id.SubsystemPrefix() + unfinishedPrefix + n.token)
	if n.size.Limit > 0 {
		takeOver = fmt.Sprintf(":if ([:len [/file find where name=%s and size>%d]] = 0) do={ %s }", inFile, n.size.Limit, takeOver)
	}
	return fmt.Sprintf(`:if ([:len [/disk find where mount-point=%s mounted=yes]] = 1 && [:len [/file find where name=%s]] = 1 && [:len [/disk find where slot=%s]] = 0 && [:len [/disk find where %s]] = 0) do={ `+
		`:onerror failure in={ %s } do={ :if ([:len [/file find where name=%s]] = 0) do={ %s file-size=%d } else={ :error $failure } } }`,
		cmd.quoted(id.Pool()), cmd.quoted(id.directory), slot, cmd.refersTo(id.file()),
		takeOver, inFile, add(n.nqn), n.size.Bytes)
}

// explainAbsence returns the error for an attempt that added no disk. The state decides which one it is, and never
// RouterOS's words, which nobody has written down.
func explainAbsence(after state, size Size, cause error) error {
	switch {
	case len(after.reply.disks) > 0:
		return cause
	case errors.Is(cause, ErrNotReady) && len(after.reply.pools) == 0 && after.reply.uptime >= after.boot:
		return fmt.Errorf("volume %s: %w: the appliance has nothing mounted at %q, and no disk of that name; set parameter pool of the StorageClass to a mount point that /disk print shows", after.id, ErrNoPool, after.id.Pool())
	case !errors.Is(cause, ErrNotFound):
		return cause
	case after.fileExists() && after.reply.refused == nil && size.Limit > 0:
		return fmt.Errorf("volume %s: %w: backing file %s is there without a disk, and larger than the limit of %d bytes; ask for more, or remove the file if nobody needs it", after.id, ErrExists, after.id.file(), size.Limit)
	case after.lacks(size.Bytes):
		return fmt.Errorf("volume %s: %w: pool %q has %d bytes free, %d are needed", after.id, ErrNoSpace, after.id.Pool(), after.poolFree(), size.Bytes)
	case after.reply.refused != nil:
		return fmt.Errorf("create volume %s: %w", after.id, after.reply.refused)
	default:
		return fmt.Errorf("create volume %s: %w: the disk was not added and the appliance didn't say why", after.id, ErrUnknownOutcome)
	}
}
