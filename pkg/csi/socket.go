package csi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
)

// errSocketTaken says that something is at the path of the socket that the driver doesn't remove.
var errSocketTaken = errors.New("the path of the CSI socket (--endpoint) is taken")

// socket is a Unix socket that this process serves.
type socket struct {
	net.Listener
	path   string
	made   os.FileInfo
	remove sync.Once
}

// listenAt makes the socket and listens on it. A socket that nobody serves any more is replaced: a process that was
// killed leaves one. Anything else at the path may be somebody's, since a person chose the path; it is left alone, and
// the error is errSocketTaken.
func listenAt(ctx context.Context, path string) (*socket, error) {
	if err := removeStale(ctx, path); err != nil {
		return nil, err
	}
	var listen net.ListenConfig
	listener, err := listen.Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen for CSI calls: %w", err)
	}
	// Go would remove whatever is at the path when the listener is closed.
	if unix, ok := listener.(*net.UnixListener); ok {
		unix.SetUnlinkOnClose(false)
	}
	made, err := os.Lstat(path)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen for CSI calls: %w", err), listener.Close())
	}
	return &socket{Listener: listener, path: path, made: made}, nil
}

// mine returns nil if the path still leads to this socket.
func (s *socket) mine() error {
	now, err := os.Lstat(s.path)
	switch {
	case err != nil:
		return fmt.Errorf("the CSI socket is gone, so that no call arrives: %w", err)
	case !os.SameFile(s.made, now):
		return fmt.Errorf("%w: %s leads to another process, which gets every call", errSocketTaken, s.path)
	default:
		return nil
	}
}

// Close stops listening, and removes the socket unless another one has taken its place.
func (s *socket) Close() error {
	// Only once, and before the listener is closed: until then the kernel gives the inode to no other socket.
	s.remove.Do(func() {
		if s.mine() == nil {
			_ = os.Remove(s.path) // the next process replaces one that stays
		}
	})
	return s.Listener.Close()
}

// removeStale removes the socket at path if nobody serves it. Having nothing there is success.
func removeStale(ctx context.Context, path string) error {
	found, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("look for the socket of an earlier run: %w", err)
	case found.Mode().Type() != os.ModeSocket:
		return fmt.Errorf("%w: %s is not a socket (%s), so it is left alone: give the path of a socket, or move away what is there",
			errSocketTaken, path, found.Mode())
	}
	var dialer net.Dialer
	connection, err := dialer.DialContext(ctx, "unix", path)
	switch {
	case err == nil:
		_ = connection.Close()
		return fmt.Errorf("%w: another process serves it at %s, most likely an earlier rds-csi that hasn't ended or a second one with the same --endpoint: stop that one first, or give this one a path of its own",
			errSocketTaken, path)
	case errors.Is(err, os.ErrNotExist):
		return nil
	case !errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w: it isn't known whether a process serves %s: remove it if none does: %w", errSocketTaken, path, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the socket of an earlier run: %w", err)
	}
	return nil
}
