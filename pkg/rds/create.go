package rds

import (
	"context"
	"errors"
	"fmt"
	"path"
)

// Create makes the volume's disk, not exported and with no holder, and its backing file of exactly size bytes. If the
// disk exists already under the same cluster and name, that one is returned, whatever its size. Errors: ErrExists, ErrNoPool,
// ErrNoSpace, ErrNotReady, ErrNotOurs, ErrUnreachable, ErrUnknownOutcome, or a *CommandError with the appliance's words.
func (c *Client) Create(ctx context.Context, id VolumeID, size int64, record Record) (Disk, error) {
	comment, err := record.Encode()
	if err != nil {
		return Disk{}, err
	}
	properties := func(cmd *command) string {
		return fmt.Sprintf("file-size=%d mount-filesystem=no nvme-tcp-export=no nvme-tcp-server-port=%d nvme-tcp-server-nqn=%s comment=%s",
			size, c.config.Port, cmd.quoted(record.SubsystemNQN(id)), cmd.quoted(comment))
	}
	after, err := c.write(ctx, KindCreate, id, func(cmd *command) { cmd.act(createStatement(cmd, id, properties(cmd))) })
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
	c.remember(disk)
	return disk, nil
}

// createStatement adds the disk only if nothing stands in its place: the pool is mounted, and neither slot nor file
// exists. An existing file is never reused, since its content isn't ours to give away.
func createStatement(cmd *command, id VolumeID, properties string) string {
	directory := cmd.quoted(path.Dir(id.file().inFile()))
	return fmt.Sprintf(`:if ([:len [/disk find where mount-point=%s mounted=yes]] = 1 && [:len [/disk find where slot=%s]] = 0 && [:len [/file find where name=%s]] = 0) do={ `+
		`:if ([:len [/file find where name=%s]] = 0) do={ /file add name=%s type=directory }; `+
		`/disk add type=file slot=%s file-path=%s %s }`,
		cmd.quoted(id.Pool()), cmd.quoted(id.Slot()), cmd.quoted(id.file().inFile()),
		directory, directory,
		cmd.quoted(id.Slot()), cmd.quoted(id.file().inDisk()), properties)
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
	case after.fileExists():
		return fmt.Errorf("volume %s: %w: backing file %s is there without a disk; remove it if nothing needs it", after.id, ErrExists, after.id.file())
	case after.reply.refused != nil:
		return fmt.Errorf("create volume %s: %w", after.id, after.reply.refused)
	default:
		return fmt.Errorf("create volume %s: %w: the disk was not added and the appliance didn't say why", after.id, ErrUnknownOutcome)
	}
}
