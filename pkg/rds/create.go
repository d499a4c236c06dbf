package rds

import (
	"context"
	"errors"
	"fmt"
)

// Create makes the volume's disk, not exported and with no holder, on a backing file of size bytes. If the disk exists
// already under the same cluster and name, that one is returned, whatever its size. A backing file without a disk, which
// an interrupted Create or an appliance that lost its configuration leaves behind, gets its disk back with what is in it.
// Errors: ErrExists, ErrNoPool, ErrNoSpace, ErrNotReady, ErrNotOurs, ErrUnreachable, ErrUnknownOutcome, or a
// *CommandError with the appliance's words.
func (c *Client) Create(ctx context.Context, id VolumeID, size int64, record Record) (Disk, error) {
	comment, err := record.Encode()
	if err != nil {
		return Disk{}, err
	}
	add := func(cmd *command) {
		properties := fmt.Sprintf("mount-filesystem=no nvme-tcp-export=no nvme-tcp-server-port=%d nvme-tcp-server-nqn=%s comment=%s",
			c.config.Port, cmd.quoted(record.SubsystemNQN(id)), cmd.quoted(comment))
		cmd.act(createStatement(cmd, id, size, properties))
	}
	after, err := c.write(ctx, KindCreate, id, add)
	if err == nil && after.directoryMissing() {
		// Only the first volume on a pool meets this.
		if err = c.makeDirectory(ctx, id.directory); err == nil {
			after, err = c.write(ctx, KindCreate, id, add)
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
	disk = c.remember(disk)
	if disk.comment == comment && disk.Size < size {
		// The file was there already, and shorter: it was being made when something cut it short.
		return c.Expand(ctx, disk, size)
	}
	return disk, nil
}

// createStatement adds the disk only if nothing stands in its place: the pool is mounted, its directory is there, the slot
// is free, and no disk refers to the file. A file that is there already is neither given a size, which might empty it, nor removed, since it
// may be all that is left of a volume. Only one that appeared while the disk could not be added goes again at once.
func createStatement(cmd *command, id VolumeID, size int64, properties string) string {
	slot, inDisk, inFile := cmd.quoted(id.Slot()), cmd.quoted(id.file().inDisk()), cmd.quoted(id.file().inFile())
	add := fmt.Sprintf("/disk add type=file slot=%s file-path=%s %s", slot, inDisk, properties)
	return fmt.Sprintf(`:if ([:len [/disk find where mount-point=%s mounted=yes]] = 1 && [:len [/file find where name=%s]] = 1 && [:len [/disk find where slot=%s]] = 0 && [:len [/disk find where file-path=%s]] = 0) do={ `+
		`:if ([:len [/file find where name=%s]] = 0) do={ :onerror failure in={ %s file-size=%d } do={ %s; :error $failure } } else={ %s } }`,
		cmd.quoted(id.Pool()), cmd.quoted(id.directory), slot, inDisk,
		inFile, add, size, removeFileStatement(cmd, id), add)
}

// explainAbsence says why there is no disk after an attempt to add one, from the state and never from RouterOS's words,
// which nobody has written down.
func explainAbsence(after state, size int64, cause error) error {
	switch {
	case len(after.reply.disks) > 0:
		return cause
	case errors.Is(cause, ErrNotReady) && len(after.reply.pools) == 0 && after.reply.uptime >= after.boot:
		return fmt.Errorf("volume %s: %w: the appliance has nothing mounted at %q", after.id, ErrNoPool, after.id.Pool())
	case !errors.Is(cause, ErrNotFound):
		return cause
	case after.poolFree() < size:
		return fmt.Errorf("volume %s: %w: pool %q has %d bytes free, %d are needed", after.id, ErrNoSpace, after.id.Pool(), after.poolFree(), size)
	case after.reply.refused != nil:
		return fmt.Errorf("create volume %s: %w", after.id, after.reply.refused)
	default:
		return fmt.Errorf("create volume %s: %w: the disk was not added and the appliance didn't say why", after.id, ErrUnknownOutcome)
	}
}
