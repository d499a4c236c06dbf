package rds

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// fileTree is the appliance's file tree over SFTP. Paths are relative to its root and don't begin with a slash. It tells
// what is there and nothing about sizes, which RouterOS gets wrong. Each operation is a channel of its own on the kept
// connection, within the bounds of a command. Errors of every operation: ErrNoFiles, ErrPermission, ErrUnreachable
// (nothing was sent), ErrIncomplete (it may have been done), a *FieldError for a path that isn't fit.
type fileTree struct{ session *session }

// list gives the names of what is in a directory, without their paths, in order. The error is fs.ErrNotExist where there
// is no such directory, which on an appliance whose pool isn't mounted proves nothing.
func (f fileTree) list(ctx context.Context, directory string) ([]string, error) {
	var names []string
	err := f.do(ctx, "list", directory, func(client *sftp.Client) error {
		entries, err := client.ReadDir(directory)
		for _, entry := range entries {
			names = append(names, entry.Name())
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	return names, nil
}

// makeDirectory makes one directory, in one that has to be there already; it is fine if it exists.
func (f fileTree) makeDirectory(ctx context.Context, directory string) error {
	return f.do(ctx, "make directory", directory, func(client *sftp.Client) error {
		err := client.Mkdir(directory)
		if err == nil {
			return nil
		}
		// What SFTP says about a directory that exists is no more than "failure".
		if info, statErr := client.Stat(directory); statErr == nil && info.IsDir() {
			return nil
		}
		return err
	})
}

// do has work done on a fresh SFTP channel.
func (f fileTree) do(ctx context.Context, what, name string, work func(*sftp.Client) error) (err error) {
	start := time.Now()
	defer func() { f.session.config.Observe(KindSFTP, outcomeOf(err), time.Since(start)) }()
	if err := checkFileName(name); err != nil {
		return err
	}
	err = f.session.use(ctx, func(channel *ssh.Session) error {
		client, err := startSFTP(channel)
		if err != nil {
			return err
		}
		return sftpError(work(client))
	})
	if err != nil {
		return fmt.Errorf("%s %q over SFTP: %w", what, name, err)
	}
	return nil
}

// startSFTP asks for the subsystem. Nothing of the client needs closing: it ends with the channel.
func startSFTP(channel *ssh.Session) (*sftp.Client, error) {
	accepted, err := channel.SendRequest("subsystem", true, ssh.Marshal(struct{ Name string }{"sftp"}))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrIncomplete, err)
	}
	if !accepted {
		return nil, ErrNoFiles
	}
	in, err := channel.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := channel.StdoutPipe()
	if err != nil {
		return nil, err
	}
	client, err := sftp.NewClientPipe(out, in)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrIncomplete, err)
	}
	return client, nil
}

// sftpError tells what the appliance answered from an answer that is missing.
func sftpError(err error) error {
	var answered *sftp.StatusError
	switch {
	case err == nil, errors.Is(err, fs.ErrNotExist):
		return err
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: %w", ErrPermission, err)
	case errors.As(err, &answered):
		return &CommandError{Text: answered.Error()}
	default:
		return fmt.Errorf("%w: %w", ErrIncomplete, err)
	}
}

func checkFileName(name string) error {
	if name == "" || strings.HasPrefix(name, "/") || path.Clean(name) != name || strings.HasPrefix(name, "..") {
		return &FieldError{Field: "path on the appliance", Value: name, Want: "a path from the root of its files, without a leading slash, . or .."}
	}
	return checkQuotable(name)
}
