package rds

import (
	"cmp"
	"context"
	"fmt"
	"path"
)

const (
	// keeperSlot is the slot of the keeper, and keeperFile its file below the directory for backing files. Neither looks like a
	// volume's.
	keeperSlot = "rds-csi-keeper"
	keeperFile = keeperSlot + backingFileType
	// keeperSize is its size in bytes.
	keeperSize = 1 << 20
	// keeperHost is the only host that it admits. No host has that name.
	keeperHost = nqnPrefix + "nobody"
	// keeperComment tells people what it is for.
	keeperComment = "rds-csi keeps the NVMe/TCP port open with this disk: its export stays, and nobody may connect"
)

// KeepPortOpen exports a disk of 1 MiB that no host may connect to, and that is never taken away, so that the target's port
// stays open when the last volume's export goes. On a kernel without commit 2351ead99ce9 (before Linux 5.16), a connection
// that is being made while its port closes uses memory that was freed. A fenced node tries to connect all the time.
//
// The disk is made on pool, in directory, unless it is there. Several clusters share one. Errors: ErrNotReady, ErrNoPool,
// ErrUnreachable, ErrUnknownOutcome, or a *CommandError.
func (c *Client) KeepPortOpen(ctx context.Context, pool, directory string) error {
	id, err := NewVolumeID(pool, directory, c.config.ClusterID, keeperSlot)
	if err != nil {
		return err
	}
	if _, err := c.Capacity(ctx, pool); err != nil {
		return err
	}
	folder := path.Dir(id.directory)
	file := filePath(folder + "/" + keeperFile)
	if err := c.makeDirectory(ctx, folder); err != nil {
		return fmt.Errorf("keep the NVMe/TCP port open: %w", err)
	}
	cmd := newCommand(KindProbe)
	slot, export := cmd.quoted(keeperSlot), fmt.Sprintf("nvme-tcp-server-port=%d nvme-tcp-export=yes", c.config.Port)
	add := fmt.Sprintf("/disk add type=file slot=%s file-path=%s mount-filesystem=no nvme-tcp-server-nqn=%s nvme-tcp-server-allow-host-name=%s comment=%s %s",
		slot, cmd.quoted(file.inDisk()), cmd.quoted(nqnPrefix+"keeper"), cmd.quoted(keeperHost), cmd.quoted(keeperComment), export)
	cmd.act(
		// Its file may be all that is left of it, and RouterOS may not take a size then.
		fmt.Sprintf(":if ([:len [/disk find where slot=%s]] = 0) do={ :onerror failure in={ %s file-size=%d } do={ %s } }", slot, add, keeperSize, add),
		fmt.Sprintf("/disk set [find where %s nvme-tcp-export=no] %s", cmd.carries(keeperSlot, keeperComment), export))
	cmd.show(markerProbe, "/disk", probeProperties, "slot="+slot)
	answer, err := c.run(ctx, cmd)
	switch {
	case err != nil:
		return fmt.Errorf("keep the NVMe/TCP port open: %w", asUnreachable(err))
	case len(answer.probes) != 1 || answer.probes[0].Comment != keeperComment || !answer.probes[0].Exported:
		return fmt.Errorf("keep the NVMe/TCP port open: disk %s isn't there as it should be: %w", keeperSlot, cmp.Or(answer.refused, ErrUnknownOutcome))
	default:
		return nil
	}
}
