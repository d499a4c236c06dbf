package nvme

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A node plugin says at its start what it lacks, and doesn't wait for the first volume.
func TestReady(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(t *testing.T, root string)
		want  error
	}{
		"all there": {func(*testing.T, string) {}, nil},
		"the module isn't loaded": {func(t *testing.T, root string) {
			t.Helper()
			remove(t, root, "dev/nvme-fabrics")
		}, ErrNoModule},
		"/sys isn't the host's": {func(t *testing.T, root string) {
			t.Helper()
			remove(t, root, "sys/class/nvme-subsystem")
		}, ErrNotHost},
		"/dev/nvme-fabrics is closed": {func(t *testing.T, root string) {
			t.Helper()
			remove(t, root, "dev/nvme-fabrics")
			makeFolder(t, root, "dev/nvme-fabrics")
		}, ErrNotHost},
		"/sys is read only":         {makeSysReadOnly, ErrNotHost},
		"another network namespace": {inNetworks("net:[1]", "net:[2]"), ErrOtherNetwork},
		"process 1 isn't shown":     {inNetworks("net:[1]", ""), nil},
		"only /dev/nvme-fabrics is there": {func(t *testing.T, root string) {
			t.Helper()
			remove(t, root, "sys/module/nvme_tcp")
		}, ErrNoModule},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			makeFolder(t, root, "dev")
			makeFolder(t, root, "sys/class/nvme-subsystem")
			makeFolder(t, root, "sys/module/nvme_tcp")
			inNetworks("net:[1]", "net:[1]")(t, root)
			if err := os.WriteFile(filepath.Join(root, "dev/nvme-fabrics"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			c.spoil(t, root)
			if err := New(Config{Host: HostOf("machine-a"), Root: root}).Ready(); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

// A connection that the kernel refuses has it load the module first.
func TestTheKernelLoadsTheTransportItself(t *testing.T) {
	root := t.TempDir()
	makeFolder(t, root, "dev")
	makeFolder(t, root, "sys/class/nvme-subsystem")
	if err := os.WriteFile(filepath.Join(root, "dev/nvme-fabrics"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	i := New(Config{Host: HostOf("machine-a"), Root: root})
	var asked []string
	i.addController = func(options string) (string, error) {
		asked = append(asked, options)
		makeFolder(t, root, "sys/module/nvme_tcp")
		return "", unix.EINVAL
	}
	for range 2 {
		if err := i.Ready(); err != nil {
			t.Errorf("got %v, want that it is ready", err)
		}
	}
	if len(asked) != 1 || strings.Contains(asked[0], "traddr") {
		t.Errorf("asked %q, want one connection without an address", asked)
	}
}

// inNetworks has this process and process 1 be in these network namespaces; "" stands for one that isn't shown.
func inNetworks(self, first string) func(t *testing.T, root string) {
	return func(t *testing.T, root string) {
		t.Helper()
		for process, namespace := range map[string]string{"self": self, "1": first} {
			folder := filepath.Join(root, "proc", process, "ns")
			makeFolder(t, root, filepath.Join("proc", process, "ns"))
			_ = os.Remove(filepath.Join(folder, "net"))
			if namespace == "" {
				continue
			}
			if err := os.Symlink(namespace, filepath.Join(folder, "net")); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func makeFolder(t *testing.T, root, path string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(root, path), 0o700); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, root, path string) {
	t.Helper()
	if err := os.Remove(filepath.Join(root, path)); err != nil {
		t.Fatal(err)
	}
}

// makeSysReadOnly is what a container has that isn't privileged.
func makeSysReadOnly(t *testing.T, root string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("mounting needs root")
	}
	sys := filepath.Join(root, "sys")
	if err := unix.Mount(sys, sys, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(sys, unix.MNT_DETACH) })
	if err := unix.Mount("", sys, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
}
