package host

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/mount-utils"
	utilexec "k8s.io/utils/exec"
	testingexec "k8s.io/utils/exec/testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
)

// tools are the commands of a machine. Each is killed when its context ends, as os/exec does it.
type tools struct {
	utilexec.Interface
	ran []string
	// run plays one command; the default is success without a word.
	run func(ctx context.Context, name string) (output string, status int)
}

func (c *tools) CommandContext(ctx context.Context, name string, arguments ...string) utilexec.Cmd {
	c.ran = append(c.ran, strings.Join(append([]string{name}, arguments...), " "))
	return &testingexec.FakeCmd{CombinedOutputScript: []testingexec.FakeAction{func() ([]byte, []byte, error) {
		output, status := c.run(ctx, name)
		switch {
		case ctx.Err() != nil:
			return []byte(output), nil, errors.New("signal: killed")
		case status != 0:
			return []byte(output), nil, testingexec.FakeExitError{Status: status}
		}
		return []byte(output), nil, nil
	}}}
}

// ranTool reports whether a command was run.
func (c *tools) ranTool(name string) bool {
	return slices.ContainsFunc(c.ran, func(line string) bool { return strings.HasPrefix(line, name+" ") })
}

// blkidOf plays blkid for a device that holds this kind, or nothing.
func blkidOf(kind string) (output string, status int) {
	if kind == "" {
		return "", blkidNothing
	}
	return "TYPE=" + kind, 0
}

// The driver looks at its start for every command that it runs later.
func TestMissingToolsAreNamed(t *testing.T) {
	folder := t.TempDir()
	t.Setenv("PATH", folder)
	h := New(Linux{}, nil, utilexec.New())
	install := func(tool string) {
		if err := os.WriteFile(filepath.Join(folder, tool), []byte("#!/bin/sh"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for i, tool := range toolNames() {
		err := h.CheckTools()
		if missing := ": " + strings.Join(toolNames()[i:], ", ") + " (PATH"; err == nil || !strings.Contains(err.Error(), missing) {
			t.Errorf("got %v, want it to name %q", err, toolNames()[i:])
		}
		install(tool)
	}
	if err := h.CheckTools(); err != nil {
		t.Errorf("with all of them: %v", err)
	}
	run := []string{"xfs_growfs", "mount"} // which no literal below names
	sources, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, source := range sources {
		code, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		for _, call := range regexp.MustCompile(`h\.run\(ctx, "([^"]+)"`).FindAllSubmatch(code, -1) {
			run = append(run, string(call[1]))
		}
	}
	for name := range writingTools() {
		run = append(run, name)
	}
	for _, name := range run {
		if !slices.Contains(toolNames(), name) {
			t.Errorf("%s isn't looked for", name)
		}
	}
}

// writingTools are the tools that write to a device, what they find there, and how long each may take at most.
func writingTools() map[string]struct {
	holds string
	run   func(context.Context, *Host, string) error
	limit time.Duration
} {
	mountIt := func(ctx context.Context, h *Host, device string) error {
		return h.Mount(ctx, Device{Path: device}, device+"-at", Filesystem{Kind: ext4})
	}
	format := func(kind string) func(context.Context, *Host, string) error {
		return func(ctx context.Context, h *Host, device string) error {
			return h.Format(ctx, device, Filesystem{Kind: kind})
		}
	}
	return map[string]struct {
		holds string
		run   func(context.Context, *Host, string) error
		limit time.Duration
	}{
		"mkfs.ext4": {"", format(ext4), 5 * time.Minute},
		"mkfs.xfs":  {"", format(xfs), 5 * time.Minute},
		"e2fsck":    {ext4, mountIt, 30 * time.Minute},
		"resize2fs": {ext4, mountIt, 30 * time.Minute},
	}
}

// Half a filesystem is neither blank nor usable, and a check that is begun anew with every call never ends.
func TestAToolThatWritesOutlivesItsCaller(t *testing.T) {
	for name, tool := range writingTools() {
		t.Run(name, func(t *testing.T) {
			device := newImage(t, 4<<20)
			ctx, giveUp := context.WithCancel(t.Context())
			commands := &tools{run: func(_ context.Context, ran string) (string, int) {
				switch ran {
				case "blkid":
					return blkidOf(tool.holds)
				case name:
					giveUp()
				}
				return "", 0
			}}
			if err := tool.run(ctx, New(Linux{}, mount.NewFakeMounter(nil), commands), device); err != nil || ctx.Err() == nil {
				t.Errorf("got %v, ran %q, want that %s ends in peace", err, commands.ran, name)
			}
		})
	}
}

// A tool that hangs keeps its volume locked, so that it must end some time.
func TestAToolThatHangsIsEnded(t *testing.T) {
	for name, tool := range writingTools() {
		t.Run(name, func(t *testing.T) {
			device := newImage(t, 4<<20)
			synctest.Test(t, func(t *testing.T) {
				ctx, giveUp := context.WithCancel(t.Context())
				start, took := time.Now(), time.Duration(0)
				commands := &tools{run: func(ctx context.Context, ran string) (string, int) {
					switch ran {
					case "blkid":
						return blkidOf(tool.holds)
					case name:
						giveUp()
						<-ctx.Done()
						took = time.Since(start)
						writeAt(t, device, 0, "half a filesystem")
					}
					return "", 0
				}}
				err := tool.run(ctx, New(Linux{}, mount.NewFakeMounter(nil), commands), device)
				if took != tool.limit || err == nil {
					t.Errorf("got %v after %s, want an error after %s", err, took, tool.limit)
				}
			})
		})
	}
}

// A look at a device has nothing to finish. It ends with its caller.
func TestALookEndsWithItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		commands := &tools{run: func(ctx context.Context, _ string) (string, int) {
			<-ctx.Done()
			return "", 0
		}}
		h := New(Linux{}, mount.NewFakeMounter(nil), commands)
		if err := h.Format(ctx, newImage(t, 4<<20), Filesystem{Kind: ext4}); !errors.Is(err, failure.ErrNotBlank) || commands.ranTool("mkfs.ext4") {
			t.Errorf("got %v, ran %q, want ErrNotBlank", err, commands.ran)
		}
	})
}

// Only silence and the right status are an answer, and even that isn't believed of a device with data.
func TestADeviceIsFormattedOnlyIfEverythingSpeaksForIt(t *testing.T) {
	for name, c := range map[string]struct {
		dataAt   int64
		blkid    string
		status   int
		readOnly bool
		want     error
	}{
		"blank":                   {-1, "", blkidNothing, false, nil},
		"data at the first edge":  {1 << 19, "", blkidNothing, false, failure.ErrNotBlank},
		"data at the last edge":   {4<<20 - 1, "", blkidNothing, false, failure.ErrNotBlank},
		"blkid couldn't open it":  {-1, "error: I/O error", blkidNothing, false, failure.ErrNotBlank},
		"blkid failed":            {-1, "", 4, false, failure.ErrNotBlank},
		"blkid found two":         {-1, "", blkidAmbivalent, false, failure.ErrOtherFilesystem},
		"blkid found another":     {-1, "TYPE=btrfs", 0, false, failure.ErrOtherFilesystem},
		"blank, to be read only":  {-1, "", blkidNothing, true, failure.ErrOtherFilesystem},
		"found, to be read only":  {-1, "TYPE=ext4", 0, true, nil},
		"found, to be written to": {-1, "TYPE=ext4", 0, false, nil},
	} {
		t.Run(name, func(t *testing.T) {
			device := newImage(t, 4<<20)
			if c.dataAt >= 0 {
				writeAt(t, device, c.dataAt, "x")
			}
			commands := &tools{run: func(_ context.Context, ran string) (string, int) {
				if ran == "blkid" {
					return c.blkid, c.status
				}
				return "", 0
			}}
			err := New(Linux{}, mount.NewFakeMounter(nil), commands).Format(t.Context(), device, Filesystem{Kind: ext4, ReadOnly: c.readOnly})
			if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if formatted := commands.ranTool("mkfs.ext4"); formatted != (name == "blank") {
				t.Errorf("formatted: %t, ran %q", formatted, commands.ran)
			}
		})
	}
}

// What mkfs has begun to write mustn't be tried again with other options.
func TestMkfsIsTriedAgainOnBlankDevicesOnly(t *testing.T) {
	for name, c := range map[string]struct{ writes, tries int }{"an option that it doesn't know": {0, 3}, "an error when it writes": {1, 1}} {
		t.Run(name, func(t *testing.T) {
			device := newImage(t, 4<<20)
			commands := &tools{run: func(context.Context, string) (string, int) {
				if c.writes > 0 {
					writeAt(t, device, 1<<12, "half a filesystem")
				}
				return "no", 1
			}}
			err := New(Linux{}, mount.NewFakeMounter(nil), commands).mkfs(t.Context(), device, ext4)
			if err == nil || len(commands.ran) != c.tries {
				t.Errorf("got %v, ran %q, want an error after %d tries", err, commands.ran, c.tries)
			}
		})
	}
}

// What is to be read only is mounted so, and neither checked nor grown before.
func TestAFilesystemThatIsToBeReadOnly(t *testing.T) {
	for kind, own := range map[string][]string{ext4: nil, xfs: {"nouuid"}} {
		for _, readOnly := range []bool{false, true} {
			commands, mounter := &tools{run: func(_ context.Context, ran string) (string, int) {
				if ran == "blkid" {
					return blkidOf(kind)
				}
				return "", 0
			}}, mount.NewFakeMounter(nil)
			h := New(Linux{}, mounter, commands)
			device, at := newImage(t, 4<<20), t.TempDir()
			if err := h.Mount(t.Context(), Device{Path: device}, at, Filesystem{Kind: kind, Options: []string{"noatime"}, ReadOnly: readOnly}); err != nil {
				t.Fatal(err)
			}
			want := []string{"noatime"}
			if readOnly {
				want = append(want, "ro")
			}
			if got := mounter.MountPoints[0].Opts; !slices.Equal(got, append(want, own...)) {
				t.Errorf("%s, read only %t: mounted with %q", kind, readOnly, got)
			}
			if wrote := commands.ranTool("e2fsck") || commands.ranTool("resize2fs"); wrote != (kind == ext4 && !readOnly) {
				t.Errorf("%s, read only %t: ran %q", kind, readOnly, commands.ran)
			}
		}
	}
}
