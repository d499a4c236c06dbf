package rds

import (
	"cmp"
	"context"
	"errors"
	"fmt"
)

// probeItem is the probe disk with the properties that the checks write.
type probeItem struct {
	oddity

	Slot      string `json:"slot"`
	Comment   string `json:"comment"`
	NQN       string `json:"nvme-tcp-server-nqn"`
	AllowHost string `json:"nvme-tcp-server-allow-host-name"`
	Exported  bool   `json:"nvme-tcp-export"`

	// refused is what RouterOS said to the write before the item was read, or nil.
	refused error
}

const probeProperties = "slot,comment,nvme-tcp-server-nqn,nvme-tcp-server-allow-host-name,nvme-tcp-export"

// set writes properties to the probe disk and reads it back.
func (c *Checker) set(ctx context.Context, properties func(*command) string) (probeItem, error) {
	cmd := newCommand(KindCheck)
	cmd.act(fmt.Sprintf("/disk set [find where slot=%s] %s", cmd.quoted(c.id.Slot()), properties(cmd)))
	cmd.show(markerProbe, "/disk", probeProperties, "slot="+cmd.quoted(c.id.Slot()))
	answer, err := c.client.run(ctx, cmd)
	if err != nil {
		return probeItem{}, err
	}
	if len(answer.probes) != 1 {
		return probeItem{}, fmt.Errorf("%w: %d disks in slot %s", ErrUnknownOutcome, len(answer.probes), c.id.Slot())
	}
	item := answer.probes[0]
	item.refused = answer.refused
	return item, nil
}

// permissions reports which policies the user has, by what has worked so far. The connection needs ssh, every read needs
// read and test, and the probe disk needs write.
func (c *Checker) permissions(ctx context.Context) {
	switch _, err := c.client.listFiles(ctx, c.id.directory); {
	case err == nil:
		c.note("permissions", ResultOK, "the user has ssh, read, write, test and ftp")
	case errors.Is(err, ErrNoFiles):
		c.note("permissions", ResultOK, "the user has ssh, read, write and test; without ftp, files are looked at over /file")
	default:
		c.note("permissions", ResultNote, fmt.Sprintf("the user has ssh, read, write and test; SFTP fails: %v", err))
	}
}

// size checks that RouterOS shows the size that was asked for, to the byte.
func (c *Checker) size(_ context.Context, disk Disk) error {
	if disk.Size != probeSize {
		return fmt.Errorf("%d bytes were asked for, and RouterOS shows %d: the driver can't tell how large a volume is", probeSize, disk.Size)
	}
	c.note("size", ResultOK, fmt.Sprintf("%d bytes were asked for and are shown", probeSize))
	return nil
}

// textCheck is a text that the driver writes, at its longest.
type textCheck struct {
	name, property, value string
	read                  func(probeItem) string
	// otherwise is the result if RouterOS doesn't keep the text unchanged.
	otherwise Result
}

// texts checks that RouterOS keeps the longest texts that the driver would ever write. The comment stays a record
// throughout, so that the clean-up after an interruption recognises the disk.
func (c *Checker) texts(ctx context.Context, disk Disk) error {
	comment, err := disk.Record.touch().encodePadded()
	if err != nil {
		return err
	}
	for _, text := range []textCheck{
		{"comment", "comment", comment, func(i probeItem) string { return i.Comment }, ResultFailed},
		{"subsystem NQN", "nvme-tcp-server-nqn", c.id.SubsystemPrefix() + unfinishedPrefix + randomToken(), func(i probeItem) string { return i.NQN }, ResultFailed},
		{"allowed host", "nvme-tcp-server-allow-host-name", oldHost, func(i probeItem) string { return i.AllowHost }, ResultNote},
	} {
		item, err := c.set(ctx, func(cmd *command) string { return text.property + "=" + cmd.quoted(text.value) })
		if err != nil {
			return err
		}
		switch got := text.read(item); {
		case got == text.value:
			c.note(text.name, ResultOK, fmt.Sprintf("%d bytes are kept as they are", len(text.value)))
		case item.refused != nil:
			c.note(text.name, text.otherwise, fmt.Sprintf("%d bytes: %v", len(text.value), item.refused))
		default:
			c.note(text.name, text.otherwise, fmt.Sprintf("wrote %q, read back %q", text.value, got))
		}
	}
	return nil
}

// export switches the export on and off. Nobody is connected.
func (c *Checker) export(ctx context.Context, _ Disk) error {
	for _, want := range []bool{true, false} {
		item, err := c.set(ctx, func(*command) string { return "nvme-tcp-export=" + map[bool]string{true: "yes", false: "no"}[want] })
		if err != nil {
			return err
		}
		if item.Exported != want {
			return fmt.Errorf("the export was to be %t and is %t: %w", want, item.Exported, cmp.Or(item.refused, ErrUnknownOutcome))
		}
	}
	c.note("export", ResultOK, "switches on and off, and shows it")
	return nil
}

// growth grows the backing file of the exported disk. It can't show what a connected node sees of that.
func (c *Checker) growth(ctx context.Context, disk Disk) error {
	if _, err := c.set(ctx, func(*command) string { return "nvme-tcp-export=yes" }); err != nil {
		return err
	}
	current, err := c.client.Get(ctx, disk.ID)
	if err != nil {
		return err
	}
	if grown, err := c.client.Expand(ctx, current, 2*disk.Size); err != nil {
		c.note("growth", ResultNote, err.Error())
	} else {
		c.note("growth", ResultOK, fmt.Sprintf("an exported disk grew to %d bytes; whether a connected node sees it must be tried on a node", grown.Size))
	}
	_, err = c.set(ctx, func(*command) string { return "nvme-tcp-export=no" })
	return err
}

// sharing tries to make a second disk on the same backing file.
func (c *Checker) sharing(ctx context.Context, disk Disk) error {
	cmd := newCommand(KindCheck)
	cmd.act(fmt.Sprintf("/disk add type=file slot=%s file-path=%s mount-filesystem=no comment=%s",
		cmd.quoted(c.shared), cmd.quoted(disk.ID.file().inDisk()), cmd.quoted(sharedComment)))
	cmd.show(markerProbe, "/disk", probeProperties, "slot="+cmd.quoted(c.shared))
	answer, err := c.client.run(ctx, cmd)
	switch {
	case err != nil:
		return err
	case len(answer.probes) > 0:
		c.note("backing file", ResultNote, "two disks may share one backing file: never make a disk on a volume's file by hand")
	default:
		c.note("backing file", ResultOK, fmt.Sprintf("a second disk on the same backing file is refused: %v", answer.refused))
	}
	return c.removeDisk(ctx, c.shared, sharedComment)
}
