package csi

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// serverAt returns a server on the path.
func serverAt(t *testing.T, path string) *Server {
	t.Helper()
	server, err := NewServer("unix://"+path, Services{Identity: NewNodeIdentity("test")}, func(string, string, time.Duration) {})
	if err != nil {
		t.Fatal(err)
	}
	return server
}

// startAt runs a server on the path until the returned function is called, which gives the error that it ended with. It
// returns when the server answers, which must be the only one at the path.
func startAt(t *testing.T, path string) func() error {
	t.Helper()
	return startServer(t, serverAt(t, path))
}

func startServer(t *testing.T, server *Server) func() error {
	t.Helper()
	path := server.socket
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	answers := func() bool {
		connection, err := new(net.Dialer).DialContext(t.Context(), "unix", path)
		if err == nil {
			_ = connection.Close()
		}
		return err == nil
	}
	for tries := 0; !answers(); tries++ {
		select {
		case err := <-done:
			cancel()
			t.Fatalf("the server ended: %v", err)
		case <-time.After(10 * time.Millisecond):
		}
		if tries > 500 {
			cancel()
			t.Fatal("the server doesn't answer")
		}
	}
	return func() error { cancel(); return <-done }
}

// otherAt serves a socket at the path as another process would.
func otherAt(t *testing.T, path string) *net.UnixListener {
	t.Helper()
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

// --endpoint is typed by hand, and may name anything: a private key, somebody's folder, the socket of another process.
func TestWhatIsInTheWayOfTheSocketIsLeftAlone(t *testing.T) {
	for name, c := range map[string]struct {
		put  func(t *testing.T, path string)
		want string // what the error says
	}{
		"a file": {func(t *testing.T, path string) {
			t.Helper()
			if err := os.WriteFile(path, []byte("a private key"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "not a socket"},
		"an empty file": {func(t *testing.T, path string) {
			t.Helper()
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, "not a socket"},
		"an empty folder": {func(t *testing.T, path string) {
			t.Helper()
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}, "not a socket"},
		"a link to a stale socket": {func(t *testing.T, path string) {
			t.Helper()
			stale := otherAt(t, path+".target")
			stale.SetUnlinkOnClose(false)
			_ = stale.Close()
			if err := os.Symlink(path+".target", path); err != nil {
				t.Fatal(err)
			}
		}, "not a socket"},
		"a socket that is served": {func(t *testing.T, path string) {
			t.Helper()
			other := otherAt(t, path)
			t.Cleanup(func() { _ = other.Close() })
		}, "another process serves it"},
		"a datagram socket": {func(t *testing.T, path string) {
			t.Helper()
			other, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = other.Close() })
		}, "protocol wrong type"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "csi.sock")
			c.put(t, path)
			before, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			err = serverAt(t, path).Run(ctx)
			if !errors.Is(err, errSocketTaken) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want it to name %s and to say %q", err, path, c.want)
			}
			if after, err := os.Lstat(path); err != nil || !os.SameFile(before, after) {
				t.Errorf("what was there is gone: %v", err)
			}
		})
	}
}

// A process that was killed leaves its socket, and the next one must start all the same.
func TestAStaleSocketIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "csi.sock")
	stale := otherAt(t, path)
	stale.SetUnlinkOnClose(false)
	if err := stale.Close(); err != nil {
		t.Fatal(err)
	}
	if err := startAt(t, path)(); err != nil {
		t.Errorf("got %v, want success", err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the server left its own socket: %v", err)
	}
}

// Whoever removes the socket of a process that hangs, and starts another one, loses the new socket otherwise when the
// first process ends.
func TestAServerRemovesOnlyItsOwnSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "csi.sock")
	stop := startAt(t, path)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	other := otherAt(t, path)
	defer func() { _ = other.Close() }()
	if err := stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the other process' socket is gone: %v", err)
	}
}

// Whoever else gets the calls, this process isn't healthy.
func TestHealthIsAboutTheOwnSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "csi.sock")
	server := serverAt(t, path)
	if err := server.Healthy(); !errors.Is(err, errNotServing) {
		t.Errorf("before: got %v", err)
	}
	stop := startServer(t, server)
	if err := server.Healthy(); err != nil {
		t.Errorf("serving: got %v", err)
	}
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	if err := server.Healthy(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its socket is gone: got %v", err)
	}
	otherAt(t, path)
	if err := server.Healthy(); !errors.Is(err, errSocketTaken) || !strings.Contains(err.Error(), path) {
		t.Errorf("another process serves the path: got %v", err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if err := server.Healthy(); !errors.Is(err, errNotServing) {
		t.Errorf("afterwards: got %v", err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the other process's socket: %v", err)
	}
}
