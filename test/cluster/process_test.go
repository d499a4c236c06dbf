package cluster

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func prepared(t *testing.T) runFolder {
	t.Helper()
	// t.TempDir names are longer than a socket's path allows.
	parent, err := os.MkdirTemp("", "rds") //nolint:usetesting // its folder is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(parent) })
	f, err := resolveFolder(filepath.Join(parent, "run"))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.prepare(); err != nil {
		t.Fatal(err)
	}
	return f
}

func started(t *testing.T, f runFolder, script string) *process {
	t.Helper()
	p, err := f.start(t.Context(), command{name: "script", path: "/bin/sh", args: []string{"-c", script}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.end(0, time.Minute) })
	return p
}

func TestStopEndsWhatWasStarted(t *testing.T) {
	f := prepared(t)
	p := started(t, f, "exec sleep 1000")
	if err := Stop(string(f)); err != nil {
		t.Fatal(err)
	}
	if p.alive() {
		t.Errorf("got process %d alive after Stop, want it gone", p.PID)
	}
	if err := Stop(string(f)); err != nil {
		t.Errorf("a second Stop: got %v, want nothing to do", err)
	}
}

func TestStopSparesAnotherProcessUnderTheSameNumber(t *testing.T) {
	f := prepared(t)
	p := started(t, f, "exec sleep 1000")
	if err := f.ledger().reset(); err != nil {
		t.Fatal(err)
	}
	earlier := record{Name: "earlier", PID: p.PID, Started: p.Started - 1}
	if err := f.ledger().add(earlier); err != nil {
		t.Fatal(err)
	}
	if err := Stop(string(f)); err != nil {
		t.Fatal(err)
	}
	if !p.alive() {
		t.Error("got the other process ended, want it untouched")
	}
}

func TestEndKillsWhatIgnoresTheRequest(t *testing.T) {
	p := started(t, prepared(t), `trap "" TERM; echo deaf; while :; do sleep 1; done`)
	err := p.await(t.Context(), func(context.Context) error {
		if Tail(p.log, 1) != "deaf" {
			return errNotReady
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.end(10*time.Millisecond, time.Minute); err != nil {
		t.Fatal(err)
	}
	if p.alive() {
		t.Errorf("got process %d alive, want it killed", p.PID)
	}
}

func TestAwaitShowsWhyAProcessEnded(t *testing.T) {
	p := started(t, prepared(t), "echo no such flag; exit 1")
	err := p.await(t.Context(), func(context.Context) error { return errNotReady })
	if !errors.Is(err, errEnded) || !strings.Contains(err.Error(), "no such flag") {
		t.Errorf("got %v, want %v and the last line of the log", err, errEnded)
	}
}

func TestPrepareRefusesAFolderThatHoldsSomethingElse(t *testing.T) {
	folder := t.TempDir()
	f := runFolder(folder)
	precious := f.path("precious")
	if err := os.WriteFile(precious, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.prepare(); !errors.Is(err, ErrFolder) {
		t.Errorf("got %v, want %v", err, ErrFolder)
	}
	if _, err := os.Stat(precious); err != nil {
		t.Errorf("got %v, want the file still there", err)
	}
}

func TestPrepareRefusesARunThatLives(t *testing.T) {
	f := prepared(t)
	p := started(t, f, "exec sleep 1000")
	if err := f.prepare(); !errors.Is(err, ErrFolder) {
		t.Errorf("got %v, want %v", err, ErrFolder)
	}
	if err := p.end(time.Minute, time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := f.prepare(); err != nil {
		t.Errorf("after the run ended: got %v, want the folder emptied", err)
	}
}

func TestResolveFolderRefusesWhatBreaksLater(t *testing.T) {
	for _, path := range []string{"/tmp/" + strings.Repeat("x", longestFolder), "/tmp/a b", "/dev/null"} {
		if f, err := resolveFolder(path); !errors.Is(err, ErrFolder) {
			t.Errorf("%q: got %q, %v, want %v", path, f, err, ErrFolder)
		}
	}
}

func TestStopTakesMountsOfTheRunAndNoOthers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	f := prepared(t)
	outer, inner, beside := f.path("nodes", "outer"), f.path("nodes", "outer", "inner"), string(f)+"-beside"
	for _, folder := range []string{outer, inner, beside} {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount("none", folder, "tmpfs", 0, "size=64k"); err != nil {
			t.Skipf("mount: %v", err)
		}
		t.Cleanup(func() { _ = unix.Unmount(folder, unix.MNT_DETACH) })
	}
	if err := os.MkdirAll(inner, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("none", inner, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	if err := Stop(string(f)); err != nil {
		t.Fatal(err)
	}
	if err := unix.Unmount(beside, 0); err != nil {
		t.Errorf("got %v, want the mount beside the run folder still there", err)
	}
	if err := unix.Unmount(outer, 0); !errors.Is(err, unix.EINVAL) {
		t.Errorf("got %v, want nothing mounted in the run folder any more", err)
	}
}
