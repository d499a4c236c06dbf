package transport

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
)

// newFiles returns a transport to a simulated appliance with one pool, for a user with these policies.
func newFiles(t *testing.T, policies appliance.Policies) (*SSH, *sim.Sim) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "key")
	key := newTestKey(t, file)
	simulator, err := sim.Start(t.Context(), sim.Options{
		StateDir: t.TempDir(),
		Pools:    []appliance.Pool{{Name: "raid10", Size: appliance.GiB}},
		Users:    []sim.User{{Name: "csi", Keys: []ssh.PublicKey{key.PublicKey()}, Policies: &policies}},
		Uptime:   time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = simulator.Close() })
	s, err := NewSSH(Config{
		Address: simulator.SSHAddr(), User: "csi", PrivateKeyFile: file, KnownHostsFile: simulator.KnownHosts(),
		ReconnectMin: time.Nanosecond, ReconnectMax: time.Nanosecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, simulator
}

func TestFilesOverSFTP(t *testing.T) {
	s, simulator := newFiles(t, appliance.AllPolicies())
	for range 2 {
		if err := s.MakeDirectory(t.Context(), "raid10/rds-csi"); err != nil {
			t.Errorf("make a directory, also one that is there: %v", err)
		}
	}
	if err := s.MakeDirectory(t.Context(), "raid10/not/there"); err == nil {
		t.Error("made a directory in one that doesn't exist")
	}
	if err := s.MakeDirectory(t.Context(), "raid11/rds-csi"); err == nil {
		t.Error("made a directory in a pool that isn't mounted")
	}
	for _, name := range []string{"b.img", "a.img"} {
		if _, err := simulator.Exec(t.Context(), `/disk add type=file slot="`+name+`" file-path="/raid10/rds-csi/`+name+`" file-size=1048576`); err != nil {
			t.Fatal(err)
		}
	}
	names, err := s.ListFiles(t.Context(), "raid10/rds-csi")
	if diff := cmp.Diff([]string{"a.img", "b.img"}, names); err != nil || diff != "" {
		t.Errorf("list: %v (-want +got):\n%s", err, diff)
	}
	if _, err := s.ListFiles(t.Context(), "raid10/absent"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("list a directory that isn't there: got %v, want ErrNotExist", err)
	}
}

// Without policy ftp there is no SFTP; the connection is as good as before.
func TestSFTPRefused(t *testing.T) {
	policies := appliance.AllPolicies()
	policies.FTP = false
	s, _ := newFiles(t, policies)
	if _, err := s.ListFiles(t.Context(), "raid10"); !errors.Is(err, ErrNoFiles) || !errors.Is(err, ErrPermission) || errors.Is(err, ErrUnreachable) {
		t.Errorf("got %v, want ErrNoFiles, which is ErrPermission", err)
	}
	s.mu.Lock()
	kept := s.current != nil
	s.mu.Unlock()
	if !kept {
		t.Error("a refusal retired the connection")
	}
}

// SFTP is bounded as commands are, and says whether it was asked for anything at all.
func TestSFTPThatFails(t *testing.T) {
	tests := map[string]struct {
		trouble func(*peer)
		want    error
	}{
		"silence":    {func(p *peer) { p.subsystem = func(c call) { <-c.gone } }, ErrIncomplete},
		"hangs up":   {func(p *peer) { p.subsystem = func(call) {} }, ErrIncomplete},
		"nonsense":   {func(p *peer) { p.subsystem = func(c call) { _, _ = io.WriteString(c, "Welcome, csi!\r\n"); <-c.gone } }, ErrIncomplete},
		"no channel": {func(p *peer) { p.opening = func(int32, ssh.NewChannel) bool { return true } }, ErrUnreachable},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, s := newPeer(t)
				test.trouble(p)
				ctx, cancel := context.WithTimeout(t.Context(), 2*execTimeout)
				defer cancel()
				if _, err := s.ListFiles(ctx, "raid10"); !errors.Is(err, test.want) {
					t.Errorf("got %v, want %v", err, test.want)
				}
				if ctx.Err() != nil {
					t.Error("it ended by the caller's deadline only")
				}
			})
		})
	}
}

// What isn't a plain path is refused before anything is connected to.
func TestFileNamesThatAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s := newPeer(t)
		for _, name := range []string{"", "/raid10", "raid10/", "..", "../x", "raid10/../x", "raid10//x", "raid10/a\nb", "raid10/\"", "raid10/$x", "raid10/\xff", "raid10/[x]"} {
			field := (*FieldError)(nil)
			if err := s.MakeDirectory(t.Context(), name); !errors.As(err, &field) {
				t.Errorf("%q: got %v, want a FieldError", name, err)
			}
		}
		if got := p.dials.Load(); got != 0 {
			t.Errorf("got %d connections, want 0", got)
		}
	})
}

func TestFilesAreWrittenAndReadOverSFTP(t *testing.T) {
	s, _ := newFiles(t, appliance.AllPolicies())
	want := bytes.Repeat([]byte("0123456789"), 20_000)
	for _, content := range [][]byte{want, want[:30]} {
		if err := s.WriteFile(t.Context(), "raid10/file", content); err != nil {
			t.Fatal(err)
		}
		for _, most := range []int64{0, 7, 30, 1 << 20} {
			got, err := s.ReadFile(t.Context(), "raid10/file", most)
			if err != nil || !bytes.Equal(got, content[:min(int(most), len(content))]) {
				t.Errorf("at most %d of %d bytes: got %d, %v", most, len(content), len(got), err)
			}
		}
	}
	if _, err := s.ReadFile(t.Context(), "raid10/absent", 1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("read a file that isn't there: got %v, want ErrNotExist", err)
	}
	if err := s.WriteFile(t.Context(), "raid11/file", want); err == nil {
		t.Error("wrote to a pool that isn't mounted")
	}
	s, _ = newFiles(t, appliance.Policies{SSH: true, Read: true, Write: true, Test: true})
	_, read := s.ReadFile(t.Context(), "raid10/file", 1)
	if write := s.WriteFile(t.Context(), "raid10/file", want); !errors.Is(write, ErrNoFiles) || !errors.Is(read, ErrNoFiles) {
		t.Errorf("without the policy: got %v, %v, want ErrNoFiles", write, read)
	}
}
