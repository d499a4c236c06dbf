package rds

import "context"

// Expand grows the backing file of a disk to size bytes. seen is the disk as the caller last saw it. Export and holder stay
// as they are. A disk that has that size or more is returned as it is: nothing ever shrinks. Errors: *ChangedError if
// somebody else wrote to the disk in between, ErrNoSpace, those of Get, ErrUnknownOutcome, or a *CommandError.
func (c *Client) Expand(ctx context.Context, seen Disk, size int64) (Disk, error) {
	if seen.Size >= size {
		return seen, nil
	}
	// The new comment makes the growth conditional as well: of two that expand at once, at most one matches.
	change := recordSwitch{kind: KindExpand, seen: seen, next: seen.Record.touch(), size: size}
	return c.switchRecord(ctx, change)
}
