package rds

import (
	"context"
	"fmt"
	"strings"
)

// guard is a condition that the driver relies on, and how many items it must find while the probe disk is there.
type guard struct {
	what, menu, condition string
	want                  int
}

// guards checks that every condition which the driver writes or decides under finds exactly what it should. One that never
// finds anything would let the file under a disk go; one that finds too much would change the disks of others. A second
// disk is there, so that a condition that is ignored shows.
func (c *Checker) guards(ctx context.Context, disk Disk) error {
	other, err := c.create(ctx, c.neighbour)
	if err != nil {
		return err
	}
	if err := c.client.awaitListing(ctx); err != nil {
		return err
	}
	cmd := newCommand(KindCheck)
	guards := c.conditions(cmd, disk, other)
	for _, guard := range guards {
		cmd.put(markerCount, fmt.Sprintf("[:len [%s find where %s]]", guard.menu, guard.condition))
	}
	if err := c.fill(cmd); err != nil {
		return err
	}
	answer, err := c.client.run(ctx, cmd)
	if err != nil {
		return fmt.Errorf("a line of %d bytes: %w", maxLineLength, err)
	}
	c.note("line", ResultOK, fmt.Sprintf("a line of %d bytes is taken, the longest that the driver sends", maxLineLength))
	var wrong []string
	for i, guard := range guards {
		if got := answer.counts[i]; got != guard.want {
			wrong = append(wrong, fmt.Sprintf("%s: %s where %s finds %d, want %d", guard.what, guard.menu, guard.condition, got, guard.want))
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("the driver can't tell what it would write to: %s", strings.Join(wrong, "; "))
	}
	c.note("guards", ResultOK, fmt.Sprintf("%d conditions find what they should", len(guards)))
	return nil
}

// conditions returns the guards, built as the driver builds them.
func (c *Checker) conditions(cmd *command, disk, other Disk) []guard {
	id := disk.ID
	ours := listDisks(KindCheck, diskProperties, c.client.config.ClusterID)
	files := listFiles(KindCheck, id.directory, "")
	digits := strings.TrimPrefix(id.Slot(), slotPrefix)
	named := func(name string) string { return "name=" + cmd.quoted(name) }
	return []guard{
		{"slot", "/disk", "slot=" + cmd.quoted(id.Slot()), 1},
		{"record", "/disk", cmd.carries(id.Slot(), disk.comment), 1},
		{"another record", "/disk", cmd.carries(id.Slot(), other.comment), 0},
		{"backing file", "/disk", cmd.refersTo(id.file()), 1},
		{"pool", "/disk", "mount-point=" + cmd.quoted(id.Pool()) + " mounted=yes", 1},
		{"disks of a cluster", "/disk", ours.condition(cmd, page{digits: digits}), 1},
		{"disks of others", "/disk", "slot=" + cmd.quoted(id.Slot()) + " and " + ours.everybodys().condition(cmd, page{rest: true}), 0},
		{"file", "/file", named(id.file().inFile()), 1},
		{"directory", "/file", named(id.directory), 1},
		{"file by its size", "/file", fmt.Sprintf("%s and size>%d", named(id.file().inFile()), probeSize-1), 1},
		{"file by a larger size", "/file", fmt.Sprintf("%s and size>%d", named(id.file().inFile()), probeSize), 0},
		{"files of a folder", "/file", files.condition(cmd, page{digits: digits}), 1},
	}
}

// fill makes a command as long as a line may be, by comparisons that do nothing.
func (c *Checker) fill(cmd *command) error {
	const nothing = `:if ("%s" = "") do={ :error "" }; `
	line, err := cmd.line()
	for err == nil && len(line) < maxLineLength {
		missing := maxLineLength - len(line)
		if frame := len(nothing) - len("%s"); missing > frame {
			filler := strings.Repeat("x", min(missing-frame, maxQuotedLength))
			cmd.statements = append(cmd.statements, strings.TrimSuffix(fmt.Sprintf(nothing, filler), "; "))
		} else {
			cmd.statements[0] = strings.Repeat(" ", missing) + cmd.statements[0]
		}
		line, err = cmd.line()
	}
	return err
}
