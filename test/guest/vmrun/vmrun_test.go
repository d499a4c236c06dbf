package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestATestMayRunAsLongAsItsOwnTimeoutSays(t *testing.T) {
	for arg, want := range map[string]time.Duration{
		"-test.timeout=3m": 3*time.Minute + grace, "-test.timeout=0": 10*time.Minute + grace, "-test.v": 10*time.Minute + grace,
	} {
		if got := limit([]string{"-test.run=X", arg}); got != want {
			t.Errorf("%s: %s, want %s", arg, got, want)
		}
	}
}

func TestArgumentsReachTheProgramWhole(t *testing.T) {
	g := guest{}
	g.arguments, g.outputs = moveOutputs([]string{"-test.run=it's $HOME", "-test.coverprofile=/here/c.out", "-test.gocoverdir=/here/d"})
	want := "export RDS_CSI_GUEST=1\ncd /tmp\nmkdir /out/gocoverdir\n" +
		`exec /guest/program '-test.run=it'\''s $HOME' '-test.coverprofile=/out/coverprofile' '-test.gocoverdir=/out/gocoverdir'` + "\n"
	if diff := cmp.Diff(want, g.command()); diff != "" {
		t.Errorf("the guest's command (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{"coverprofile": "/here/c.out", "gocoverdir": "/here/d"}, g.outputs); diff != "" {
		t.Errorf("outputs (-want +got):\n%s", diff)
	}
}

func TestMembersOfAnArchiveAreAligned(t *testing.T) {
	for size := range 9 {
		var archive bytes.Buffer
		if err := member(&archive, "name"[:1+size%4], 0o100755, make([]byte, size)); err != nil || archive.Len()%4 != 0 {
			t.Errorf("%d bytes: %v, %d bytes of archive", size, err, archive.Len())
		}
	}
}

// handedOver is an archive of the files, in their order, as the guest's init makes it.
func handedOver(t *testing.T, files ...string) string {
	t.Helper()
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for i := 0; i < len(files); i += 2 {
		err := w.WriteHeader(&tar.Header{Name: files[i], Mode: 0o644, Size: int64(len(files[i+1]))})
		if _, failed := w.Write([]byte(files[i+1])); err != nil || failed != nil {
			t.Fatal(err, failed)
		}
	}
	if err := w.Flush(); err != nil { // no Close: a guest may die before the archive's end
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "result.tar")
	if err := os.WriteFile(path, archive.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestExitCodeAndFilesComeBack(t *testing.T) {
	here := t.TempDir()
	g := guest{outputs: map[string]string{"coverprofile": filepath.Join(here, "c.out"), "gocoverdir": here}}
	archive := handedOver(t, "out/coverprofile", "mode: set", "out/gocoverdir/counters", "7", "out/other", "x", "result", "3\n")
	if code, err := g.collect(archive); code != 3 || err != nil {
		t.Errorf("collect: %d, %v, want the exit code 3", code, err)
	}
	for name, want := range map[string]string{"c.out": "mode: set", "counters": "7"} {
		if got, err := os.ReadFile(filepath.Join(here, name)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v, want %q", name, got, err, want)
		}
	}
}

func TestAGuestThatDiedIsNoSuccess(t *testing.T) {
	for name, archive := range map[string]string{
		"no archive": filepath.Join(t.TempDir(), "none"), "empty": handedOver(t), "no result": handedOver(t, "out/coverprofile", "x"),
	} {
		if code, err := (guest{}).collect(archive); code != exitFailure || !errors.Is(err, errNoResult) {
			t.Errorf("%s: %d, %v, want errNoResult", name, code, err)
		}
	}
}

func TestTheProgramsOutputBeginsAfterTheGuestSaidReady(t *testing.T) {
	begun := false
	if show(io.Discard, bytes.NewBufferString("Kernel panic\n"), func() { begun = true }) || begun {
		t.Error("output of a guest that isn't ready counts as its program's")
	}
	if !show(io.Discard, bytes.NewBufferString(ready+"\n"), func() { begun = true }) || !begun {
		t.Error("the line that says ready went by unseen")
	}
}

func TestThePairsEndsBelongTogether(t *testing.T) {
	first, second := links("/run/pair")
	if first.own != second.other || first.other != second.own {
		t.Errorf("the network's sockets: %s to %s, and %s to %s", first.own, first.other, second.own, second.other)
	}
	for end, want := range map[*link]string{
		first:  "-chardev socket,id=monitor,reconnect=1,path=/run/pair/monitor.sock -device virtserialport,nr=3,chardev=monitor",
		second: "-qmp unix:/run/pair/monitor.sock,server=on,wait=off",
	} {
		if got := strings.Join(end.qemuArguments(), " "); !strings.HasSuffix(got, want) {
			t.Errorf("QEMU's arguments end with another monitor than %q: %s", want, got)
		}
	}
	if got := strings.Join(first.commands(), "\n"); !strings.Contains(got, "\nexport RDS_CSI_GUEST_MONITOR=/dev/vport0p3") {
		t.Errorf("the first guest isn't told where the monitor is:\n%s", got)
	}
}
