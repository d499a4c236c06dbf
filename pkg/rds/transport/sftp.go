package transport

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// ListFiles returns the names of what is in a directory, without their paths, in order. The path is relative to the root of
// the appliance's files and doesn't begin with a slash. Sizes aren't returned, since RouterOS gets them wrong over SFTP.
// The error is fs.ErrNotExist where there is no such directory. If the pool isn't mounted, that proves nothing. Other
// errors: ErrNoFiles, ErrPermission, ErrUnreachable (nothing was sent), ErrIncomplete, *CommandError, or a *FieldError for a
// path that can't be used.
func (s *SSH) ListFiles(ctx context.Context, directory string) ([]string, error) {
	var names []string
	err := s.withSFTP(ctx, "list", directory, func(client *sftp.Client) error {
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

// MakeDirectory makes one directory in a directory that exists. A directory that exists already is fine. Errors: those of
// ListFiles; after ErrIncomplete it may have been made.
func (s *SSH) MakeDirectory(ctx context.Context, directory string) error {
	return s.withSFTP(ctx, "make directory", directory, func(client *sftp.Client) error {
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

// WriteFile makes a file with this content, in a directory that exists. What a file of that name had before is lost. Errors:
// those of ListFiles; after ErrIncomplete a part may have been written.
func (s *SSH) WriteFile(ctx context.Context, name string, content []byte) error {
	return s.withSFTP(ctx, "write", name, func(client *sftp.Client) error {
		file, err := client.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
		if err != nil {
			return err
		}
		_, err = file.Write(content)
		return cmp.Or(err, file.Close())
	})
}

// ReadFile returns the first bytes of a file, at most so many. Errors: those of ListFiles, fs.ErrNotExist for the file.
func (s *SSH) ReadFile(ctx context.Context, name string, most int64) (content []byte, err error) {
	err = s.withSFTP(ctx, "read", name, func(client *sftp.Client) error {
		file, err := client.Open(name)
		if err != nil {
			return err
		}
		content, err = io.ReadAll(io.LimitReader(file, most))
		return cmp.Or(err, file.Close())
	})
	return content, err
}

// withSFTP runs work on a fresh SFTP channel, within the bounds of a command.
func (s *SSH) withSFTP(ctx context.Context, what, name string, work func(*sftp.Client) error) error {
	if err := checkPath(name); err != nil {
		return err
	}
	err := s.withChannel(ctx, func(channel *ssh.Session) error {
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

// startSFTP asks for the subsystem. The client needn't be closed: it ends with the channel.
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

// sftpError types the error of an operation: the appliance refused it, or its answer is missing.
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

// pathCharacters are those that a path may consist of.
const pathCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:/,=- "

func checkPath(name string) error {
	if name == "" || strings.HasPrefix(name, "/") || path.Clean(name) != name || strings.HasPrefix(name, "..") || strings.Trim(name, pathCharacters) != "" {
		return &FieldError{Field: "path on the appliance", Value: name, Want: "a path from the root of its files, without a leading slash, . or .., of letters, digits, spaces and . _ : / , = - only"}
	}
	return nil
}
