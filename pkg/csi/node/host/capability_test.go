package host

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"k8s.io/mount-utils"
	utilexec "k8s.io/utils/exec"
	testingexec "k8s.io/utils/exec/testing"
)

// closed is a folder that only another user may read.
func closed(t *testing.T) string {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "closed")
	if err := errors.Join(os.MkdirAll(filepath.Join(folder, "inner"), 0o755), os.Chown(folder, 1000, 1000), os.Chmod(folder, 0o700)); err != nil {
		t.Fatal(err)
	}
	return folder
}

// Root is refused what it lacks a capability for, and the error says which.
func TestRealErrorsNameTheCapabilityThatIsLacking(t *testing.T) {
	if lacking := Lacking(dacReadSearch, sysPtrace, sysAdmin); os.Getuid() != 0 || len(lacking) > 0 {
		t.Skipf("needs root with capabilities to drop; lacks %v", lacking)
	}
	startStranger(t)
	fails := func() utilexec.Cmd {
		return &testingexec.FakeCmd{CombinedOutputScript: []testingexec.FakeAction{func() ([]byte, []byte, error) {
			return []byte("permission denied"), nil, &testingexec.FakeExitError{Status: 1}
		}}}
	}
	grow := func(kind string) error {
		commands := &testingexec.FakeExec{CommandScript: []testingexec.FakeCommandAction{func(string, ...string) utilexec.Cmd { return fails() }}}
		return New(Linux{}, mount.NewFakeMounter(nil), commands).Grow(t.Context(), "/dev/absent", "/absent", kind)
	}
	for name, c := range map[string]struct {
		do      func() error
		dropped []int
		want    string
	}{
		"look who uses a device, privileged": {func() error { _, err := Linux{}.Users(t.Context(), 1); return err }, []int{unix.CAP_SYS_PTRACE}, "lacks CAP_SYS_PTRACE ("},
		"look who uses a device, a pod's":    {func() error { _, err := Linux{}.Users(t.Context(), 1); return err }, []int{unix.CAP_DAC_READ_SEARCH, unix.CAP_DAC_OVERRIDE}, "lacks CAP_DAC_READ_SEARCH ("},
		"look whether a filesystem works":    {func() error { return Linux{}.TryWrite(t.TempDir()) }, []int{unix.CAP_SYS_ADMIN}, "lacks CAP_SYS_ADMIN ("},
		"sync":                               {func() error { return Linux{}.Sync(closed(t)) }, []int{unix.CAP_DAC_READ_SEARCH, unix.CAP_DAC_OVERRIDE}, "lacks CAP_DAC_READ_SEARCH ("},
		"look for a mount": {
			func() error { return New(Linux{}, nil, nil).CheckShared(filepath.Join(closed(t), "inner")) },
			[]int{unix.CAP_DAC_READ_SEARCH, unix.CAP_DAC_OVERRIDE},
			"lacks CAP_DAC_READ_SEARCH (",
		},
		"grow ext4":                    {func() error { return grow(ext4) }, []int{unix.CAP_SYS_RESOURCE}, "lacks CAP_SYS_RESOURCE ("},
		"grow ext4 of a pod":           {func() error { return grow(ext4) }, []int{unix.CAP_SYS_RESOURCE, unix.CAP_DAC_READ_SEARCH}, "lacks CAP_SYS_RESOURCE and CAP_DAC_READ_SEARCH ("},
		"grow xfs":                     {func() error { return grow(xfs) }, []int{unix.CAP_SYS_ADMIN, unix.CAP_SYS_RESOURCE}, "lacks CAP_SYS_ADMIN ("},
		"another error":                {func() error { return Linux{}.Sync("/absent") }, []int{unix.CAP_DAC_READ_SEARCH}, "open /absent"},
		"a capability of another kind": {func() error { return grow(xfs) }, []int{unix.CAP_SYS_PTRACE}, "xfs_growfs: exit 1"},
	} {
		t.Run(name, func(t *testing.T) {
			var err error
			without(t, func() { err = c.do() }, c.dropped...)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
			if lacks := strings.Contains(c.want, "lacks"); err != nil && strings.Contains(err.Error(), "lacks") != lacks {
				t.Errorf("got %v; names a capability: %t, want %t", err, !lacks, lacks)
			}
		})
	}
}

func TestADroppedCapabilityIsLacking(t *testing.T) {
	had := Lacking(Capabilities()...)
	for _, c := range Capabilities() {
		without(t, func() {
			for _, other := range Capabilities() {
				if got, want := slices.Contains(Lacking(Capabilities()...), other), other == c || slices.Contains(had, other); got != want {
					t.Errorf("without %s: %s lacking is %t, want %t", c, other, got, want)
				}
			}
		}, int(c))
	}
}

// What the manifests give, the docs explain.
func TestTheDocsExplainEachCapability(t *testing.T) {
	page, err := os.ReadFile("../../../../docs/nodes.md")
	if err != nil {
		t.Fatal(err)
	}
	var explained []string
	for line := range strings.Lines(string(page)) {
		if name, _, found := strings.Cut(strings.TrimPrefix(line, "| `"), "` |"); found && strings.HasPrefix(name, "CAP_") {
			explained = append(explained, name)
		}
	}
	var needed []string
	for _, c := range Capabilities() {
		needed = append(needed, c.String())
	}
	slices.Sort(explained)
	slices.Sort(needed)
	if !slices.Equal(explained, needed) {
		t.Errorf("docs/nodes.md has a table of %q, the driver needs %q", explained, needed)
	}
}
