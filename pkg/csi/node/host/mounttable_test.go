package host

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/mount-utils"
)

// One mount that the kernel shows with an odd source must not make the others unreadable.
func TestMountTables(t *testing.T) {
	const table = `22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/root rw
45 22 0:40 / /mnt/empty\040source rw,relatime shared:20 master:3 - tmpfs  rw,size=1k
46 22 0:41 /sub /mnt/two\040words ro - 9p a\040b rw
`
	got, err := parseMounts(strings.NewReader(table))
	want := []mount.MountInfo{
		{ID: 22, ParentID: 1, Major: 8, Minor: 1, Root: "/", Source: "/dev/root", MountPoint: "/", FsType: "ext4", OptionalFields: []string{"shared:1"}, MountOptions: []string{"rw", "relatime"}, SuperOptions: []string{"rw"}},
		{ID: 45, ParentID: 22, Minor: 40, Root: "/", MountPoint: "/mnt/empty source", FsType: "tmpfs", OptionalFields: []string{"shared:20", "master:3"}, MountOptions: []string{"rw", "relatime"}, SuperOptions: []string{"rw", "size=1k"}},
		{ID: 46, ParentID: 22, Minor: 41, Root: "/sub", Source: "a b", MountPoint: "/mnt/two words", FsType: "9p", OptionalFields: []string{}, MountOptions: []string{"ro"}, SuperOptions: []string{"rw"}},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if _, err := parseMounts(strings.NewReader("22 1 8:1\n")); err == nil {
		t.Error("a line that was cut is no mount table")
	}
}

// A filesystem that became read only after an error is read only for all of its mounts, and none was made so.
func TestReadOnlyIsWhatAMountWasMade(t *testing.T) {
	for _, mounted := range []bool{false, true} {
		for _, filesystem := range []bool{false, true} {
			option := map[bool][]string{false: {"rw", "noatime"}, true: {"ro", "noatime"}}
			if got := ReadOnly(mount.MountInfo{MountOptions: option[mounted], SuperOptions: option[filesystem]}); got != mounted {
				t.Errorf("mount %q, filesystem %q: got %t", option[mounted], option[filesystem], got)
			}
		}
	}
}
