package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
	"k8s.io/mount-utils"
)

const major, minor = 259, 7

// neighbours are devices that share one of the two numbers, or its lower bits, or have them the other way round.
func neighbours() map[string]DeviceNumber {
	return map[string]DeviceNumber{
		"another minor": DeviceNumber(unix.Mkdev(major, minor+1)), "another major": DeviceNumber(unix.Mkdev(major+1, minor)),
		"swapped": DeviceNumber(unix.Mkdev(minor, major)), "a high minor": DeviceNumber(unix.Mkdev(major, minor|1<<12)),
		"a high major": DeviceNumber(unix.Mkdev(major|1<<11, minor)), "none": 0,
	}
}

// numbered is a kernel whose mounts have devices of their own; a device node is told by its path.
type numbered struct {
	table
	nodes map[string]DeviceNumber
}

// Mounts returns a copy: the kernel's table is nobody's to change.
func (n numbered) Mounts() ([]mount.MountInfo, error) { return slices.Clone(n.mounts), nil }

func (n numbered) Number(path string) (DeviceNumber, error) {
	if number, found := n.nodes[path]; found {
		return number, nil
	}
	return 0, os.ErrNotExist
}

// mountsOf is a mount of a device, as a filesystem and as a device node.
func mountsOf(device DeviceNumber, folder, name string) (mounts []mount.MountInfo, node string) {
	node = filepath.Join(folder, name+"-node")
	return []mount.MountInfo{
		{MountPoint: filepath.Join(folder, name), Root: "/", FsType: ext4, Source: name, Major: int(unix.Major(uint64(device))), Minor: int(unix.Minor(uint64(device)))},
		{MountPoint: node, Root: "/nvme0n1", FsType: "devtmpfs", Source: name, Minor: 6},
	}, node
}

// Taken for one by half of their numbers, two devices would pass for the same volume.
func TestDevicesAreToldApartByBothNumbers(t *testing.T) {
	live := DeviceNumber(unix.Mkdev(major, minor))
	for name, other := range neighbours() {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			mine, myNode := mountsOf(live, folder, "mine")
			others, otherNode := mountsOf(other, folder, "other")
			commands := &tools{run: func(context.Context, string) (string, int) { return "stays", 32 }}
			h := New(numbered{table{mounts: append(mine, others...)}, map[string]DeviceNumber{myNode: live, otherNode: other}}, nil, commands)
			if got, err := h.MountsOf(live); err != nil || !slices.EqualFunc(got, mine, func(a, b mount.MountInfo) bool { return a.MountPoint == b.MountPoint }) {
				t.Errorf("MountsOf: got %+v, %v, want %+v", got, err, mine)
			}
			for _, m := range append(mine, others...) {
				commands.ran = nil
				err := h.DetachOthers(t.Context(), m.MountPoint, live)
				if detached := commands.ranTool("umount"); detached == (m.Source == "mine") || detached != (err != nil) {
					t.Errorf("DetachOthers at %s: %v, ran %q", m.MountPoint, err, commands.ran)
				}
			}
			if got, err := h.MountedElsewhere(live, mine[0].MountPoint); err != nil || got != myNode {
				t.Errorf("MountedElsewhere: got %q, %v, want %s", got, err, myNode)
			}
		})
	}
}

func TestANumberIsTheWholeNumberOfABlockDevice(t *testing.T) {
	for name, other := range neighbours() {
		got, err := numberOf(name, unix.Stat_t{Mode: unix.S_IFBLK | 0o600, Rdev: uint64(other)})
		if err != nil || got != other {
			t.Errorf("%s: got %d, %v, want %d", name, got, err, other)
		}
	}
	for _, kind := range []uint32{unix.S_IFCHR, unix.S_IFREG, unix.S_IFDIR, unix.S_IFLNK} {
		if _, err := numberOf("other", unix.Stat_t{Mode: kind, Rdev: unix.Mkdev(major, minor)}); !errors.Is(err, ErrNoDevice) {
			t.Errorf("mode %o: got %v, want ErrNoDevice", kind, err)
		}
	}
}

// A process is known by what it has mounted and open. This one is a folder that looks like one of /proc.
func TestUsersAreFoundByBothNumbers(t *testing.T) {
	live := DeviceNumber(unix.Mkdev(major, minor))
	devices := neighbours()
	devices["itself"] = live
	for name, device := range devices {
		t.Run(name, func(t *testing.T) {
			process := t.TempDir()
			for _, folder := range []string{"ns", "fd"} {
				if err := os.Mkdir(filepath.Join(process, folder), 0o750); err != nil {
					t.Fatal(err)
				}
			}
			entry := []byte(fmt.Sprintf("22 1 %d:%d / /mnt/data rw,relatime - ext4 /dev/nvme0n1 rw\n", unix.Major(uint64(device)), unix.Minor(uint64(device))))
			if err := errors.Join(os.Symlink("mnt:[1]", filepath.Join(process, "ns/mnt")), os.WriteFile(filepath.Join(process, "mountinfo"), entry, 0o600)); err != nil {
				t.Fatal(err)
			}
			if got, err := mountedBy(process, live, map[string]bool{}); (got != "") != (device == live) || err != nil {
				t.Errorf("mounted: %q, %v", got, err)
			}
			if got, err := mountedBy(process, live, map[string]bool{"mnt:[1]": true}); got != "" || err != nil {
				t.Errorf("mounted in a namespace that was read already: %q, %v", got, err)
			}
			if err := unix.Mknod(filepath.Join(process, "fd/3"), unix.S_IFBLK|0o600, int(device)); err != nil {
				t.Skipf("making a device node needs root: %v", err)
			}
			if got, err := openedBy(process, live); (got != "") != (device == live) || err != nil {
				t.Errorf("open: %q, %v", got, err)
			}
		})
	}
}
