package rds

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"time"
)

// The appliance's files are reached over the transport. Where it can't, because the user's group lacks the policy ftp, the
// menu /file is used. Nothing here removes anything: that is done by statements that check what they remove.

// listFiles returns the names of what is in a directory, as the transport lists them.
func (c *Client) listFiles(ctx context.Context, directory string) (names []string, err error) {
	start := time.Now()
	defer func() { c.config.Observe(KindSFTP, outcomeOf(err), time.Since(start)) }()
	return c.transport.ListFiles(ctx, directory)
}

// filesIn lists the files in a directory on a mounted pool. One that doesn't exist is empty.
func (c *Client) filesIn(ctx context.Context, directory string) ([]filePath, error) {
	names, err := c.listFiles(ctx, directory)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, asUnreachable(err)
	}
	var files []filePath
	for _, name := range names {
		files = append(files, newFilePath(path.Join(directory, name)))
	}
	return files, nil
}

// makeDirectory makes a directory on a mounted pool, and those above it.
func (c *Client) makeDirectory(ctx context.Context, directory string) error {
	if above := path.Dir(directory); path.Dir(above) != "." {
		if err := c.makeDirectory(ctx, above); err != nil {
			return err
		}
	}
	start := time.Now()
	err := c.transport.MakeDirectory(ctx, directory)
	c.config.Observe(KindSFTP, outcomeOf(err), time.Since(start))
	if !errors.Is(err, ErrNoFiles) {
		return asUnreachable(err)
	}
	cmd := newCommand(KindCreate)
	name := cmd.quoted(directory)
	cmd.act(fmt.Sprintf(":if ([:len [/file find where name=%s]] = 0) do={ /file add name=%s type=directory }", name, name))
	cmd.show(markerFiles, "/file", fileProperties, "name="+name)
	answer, err := c.run(ctx, cmd)
	switch {
	case err != nil:
		return asUnreachable(err)
	case len(answer.files) == 0 && answer.refused != nil:
		return fmt.Errorf("make the directory %s: %w", directory, answer.refused)
	default:
		return nil // /file may list it later
	}
}

// verifyFileGone returns nil if a backing file isn't there any more. Without SFTP only /file shows that, and it may be late
// with it: what it doesn't list after the removal is looked for once more.
func (c *Client) verifyFileGone(ctx context.Context, id VolumeID, after state) error {
	// The file is looked for in a list of its directory. A list that fails is never taken for absence.
	names, err := c.listFiles(ctx, id.directory)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, ErrNoFiles) && after.fileExists():
		err = nil
	case errors.Is(err, ErrNoFiles):
		after, err = c.lookLater(ctx, id)
	}
	if err != nil {
		return fmt.Errorf("delete volume %s: verify that its backing file is gone: %w", id, asUnreachable(err))
	}
	if slices.Contains(names, path.Base(id.file().inFile())) || after.fileExists() {
		err := fmt.Errorf("delete volume %s: %w: backing file %s is still there", id, ErrUnknownOutcome, id.file())
		if after.reply.refused != nil {
			err = fmt.Errorf("%w: %w", err, after.reply.refused)
		}
		return err
	}
	return nil
}

// awaitListing waits until /file lists what is there now.
func (c *Client) awaitListing(ctx context.Context) error {
	select {
	case <-time.After(c.config.ListingDelay):
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the list of files: %w", ctx.Err())
	}
}

// lookLater reads the state of one volume when /file lists every file that is there now. It returns ErrNotReady if that
// state proves no absence either.
func (c *Client) lookLater(ctx context.Context, id VolumeID) (state, error) {
	if err := c.awaitListing(ctx); err != nil {
		return state{}, err
	}
	now, err := c.look(ctx, id)
	if err != nil {
		return state{}, err
	}
	return now, now.absenceProven()
}
