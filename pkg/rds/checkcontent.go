package rds

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
)

// content finds out whether a file that gets a disk keeps its size and what is in it, up to the last byte. The driver makes a
// disk on the file of a volume that has lost its own.
func (c *Checker) content(ctx context.Context, _ Disk) error {
	const name = "content"
	want := make([]byte, probeSize)
	source := rand.NewChaCha8([32]byte{})
	_, _ = source.Read(want) // it returns no error
	file := c.kept.file().inFile()
	switch err := c.client.transport.WriteFile(ctx, file, want); {
	case errors.Is(err, ErrNoFiles):
		c.note(name, ResultNote, "not looked at: without the policy ftp no file with content can be made")
		return nil
	case err != nil:
		c.note(name, ResultNote, fmt.Sprintf("not looked at: no file with content could be made: %v", err))
		return nil
	}
	disk, err := c.create(ctx, c.kept)
	if err != nil {
		return fmt.Errorf("make a disk on a file that exists: %w", err)
	}
	if disk.Size != probeSize {
		c.note(name, ResultFailed, fmt.Sprintf("a disk on a file of %d bytes has %d", probeSize, disk.Size))
	}
	got, err := c.client.transport.ReadFile(ctx, file, probeSize)
	switch {
	case err != nil:
		return fmt.Errorf("read the file under a disk: %w", err)
	case !bytes.Equal(got, want):
		c.note(name, ResultFailed, "a file that gets a disk loses what is in it: a volume that loses its disk must be restored from a backup")
	default:
		c.note(name, ResultOK, fmt.Sprintf("a file of %d bytes that gets a disk keeps its size and what is in it", probeSize))
	}
	return nil
}
