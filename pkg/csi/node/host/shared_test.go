package host

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"k8s.io/mount-utils"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
)

// table is a kernel with a mount table and nothing else.
type table struct {
	Linux
	mounts []mount.MountInfo
	err    error
}

func (t table) Mounts() ([]mount.MountInfo, error) { return t.mounts, t.err }

func at(id, parent int, point, kind string, propagation ...string) mount.MountInfo {
	return mount.MountInfo{ID: id, ParentID: parent, MountPoint: point, FsType: kind, OptionalFields: propagation}
}

func TestTheMountThatAPathIsOn(t *testing.T) {
	for name, c := range map[string]struct {
		table []mount.MountInfo
		path  string
		want  int // the ID; 0: none
	}{
		"the root":                        {[]mount.MountInfo{at(2, 1, "/", "ext4")}, "/a/b", 2},
		"the root of an initramfs":        {[]mount.MountInfo{at(1, 1, "/", "rootfs"), at(3, 1, "/dev", "devtmpfs")}, "/a", 1},
		"listed before its parent":        {[]mount.MountInfo{at(3, 2, "/dev", "devtmpfs"), at(2, 1, "/", "ext4")}, "/dev", 3},
		"the mount point itself":          {[]mount.MountInfo{at(2, 1, "/", "ext4"), at(3, 2, "/a", "xfs")}, "/a", 3},
		"a name that only begins alike":   {[]mount.MountInfo{at(2, 1, "/", "ext4"), at(3, 2, "/a", "xfs")}, "/ab", 2},
		"a mount in a mount":              {[]mount.MountInfo{at(2, 1, "/", "ext4"), at(3, 2, "/a", "xfs"), at(4, 3, "/a/b", "xfs")}, "/a/b/c", 4},
		"the upper one of two":            {[]mount.MountInfo{at(2, 1, "/", "ext4"), at(3, 2, "/a", "xfs"), at(4, 3, "/a", "xfs")}, "/a/b", 4},
		"one that a later mount hides":    {[]mount.MountInfo{at(2, 1, "/", "ext4"), at(3, 2, "/a/b", "xfs"), at(4, 2, "/a", "xfs")}, "/a/b/c", 4},
		"a second root on the first":      {[]mount.MountInfo{at(2, 1, "/", "ext4"), at(3, 2, "/", "xfs"), at(4, 2, "/a", "xfs")}, "/a", 3},
		"no root (the process is in one)": {[]mount.MountInfo{at(3, 2, "/a", "xfs")}, "/b", 0},
		"an empty table":                  {nil, "/", 0},
	} {
		t.Run(name, func(t *testing.T) {
			on, found := descend(c.table, c.path)
			if found != (c.want != 0) || on.ID != c.want {
				t.Errorf("got %d, %t, want %d", on.ID, found, c.want)
			}
		})
	}
}

func TestOnlyASharedMountIsShared(t *testing.T) {
	folder, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(folder, "link")
	if err := os.Mkdir(filepath.Join(folder, "kubelet"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("kubelet", link); err != nil {
		t.Fatal(err)
	}
	kubelet := filepath.Join(folder, "kubelet")
	for name, c := range map[string]struct {
		mounts []mount.MountInfo
		path   string
		want   error
	}{
		"shared":                        {[]mount.MountInfo{at(2, 1, "/", "ext4"), at(3, 2, kubelet, "ext4", "shared:7")}, kubelet, nil},
		"shared and a slave":            {[]mount.MountInfo{at(2, 1, "/", "ext4", "master:1", "shared:7")}, kubelet, nil},
		"by a symbolic link":            {[]mount.MountInfo{at(2, 1, "/", "ext4"), at(3, 2, kubelet, "ext4", "shared:7")}, link, nil},
		"a slave":                       {[]mount.MountInfo{at(2, 1, "/", "ext4", "shared:1"), at(3, 2, kubelet, "ext4", "master:7")}, kubelet, failure.ErrNotShared},
		"private":                       {[]mount.MountInfo{at(2, 1, "/", "ext4", "shared:1"), at(3, 2, kubelet, "ext4")}, kubelet, failure.ErrNotShared},
		"unbindable":                    {[]mount.MountInfo{at(2, 1, "/", "ext4", "unbindable")}, kubelet, failure.ErrNotShared},
		"the folder doesn't exist":      {[]mount.MountInfo{at(2, 1, "/", "ext4", "shared:1")}, kubelet + "/absent", os.ErrNotExist},
		"the table doesn't tell":        {nil, kubelet, errNoMount},
		"the path on the link's target": {[]mount.MountInfo{at(2, 1, "/", "ext4", "shared:1"), at(3, 2, kubelet, "ext4")}, link, failure.ErrNotShared},
	} {
		t.Run(name, func(t *testing.T) {
			if err := New(table{mounts: c.mounts}, nil, nil).CheckShared(c.path); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
	unreadable := errors.New("no /proc here")
	if err := New(table{err: unreadable}, nil, nil).CheckShared(kubelet); !errors.Is(err, unreadable) {
		t.Errorf("got %v, want %v", err, unreadable)
	}
}

func TestOnlyTheHostsDevShowsNewDevices(t *testing.T) {
	root := at(2, 1, "/", "overlay")
	for name, c := range map[string]struct {
		mounts []mount.MountInfo
		want   error
	}{
		"the host's":        {[]mount.MountInfo{root, at(3, 2, "/dev", "devtmpfs"), at(4, 3, "/dev/shm", "tmpfs")}, nil},
		"a container's own": {[]mount.MountInfo{root, at(3, 2, "/dev", "tmpfs"), at(4, 3, "/dev/nvme0n1", "devtmpfs")}, errOwnDev},
		"none":              {[]mount.MountInfo{root}, errOwnDev},
	} {
		t.Run(name, func(t *testing.T) {
			if err := New(table{mounts: c.mounts}, nil, nil).CheckDev(); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}
