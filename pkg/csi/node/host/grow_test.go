package host

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/mount-utils"
	utilexec "k8s.io/utils/exec"
)

// An ext4 that isn't mounted grows, also if it was mounted since its last full check, which resize2fs doesn't like.
func TestRealExt4GrowsBeforeItIsMounted(t *testing.T) {
	for _, command := range []string{"mkfs.ext4", "e2fsck", "resize2fs", "debugfs", "dumpe2fs"} {
		if _, err := exec.LookPath(command); err != nil {
			t.Skipf("a command is missing: %v", err)
		}
	}
	for name, spoil := range map[string]string{"never mounted": "stats", "mounted since its check": "set_super_value mtime 20990101"} {
		t.Run(name, func(t *testing.T) {
			device := filepath.Join(t.TempDir(), "device")
			resize := func(size int64) {
				if err := os.Truncate(device, size); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(device, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			resize(64 << 20)
			h := New(Linux{}, mount.NewFakeMounter(nil), utilexec.New())
			if err := h.mkfs(t.Context(), device, ext4); err != nil {
				t.Fatal(err)
			}
			if output, err := h.run(t.Context(), "debugfs", "-w", "-R", spoil, device); err != nil {
				t.Fatalf("%v: %s", err, output)
			}
			resize(128 << 20)
			for range 2 {
				if err := h.growUnmounted(t.Context(), device); err != nil {
					t.Error(err)
				}
			}
			output, err := h.run(t.Context(), "dumpe2fs", "-h", device)
			blocks := func(size string) bool {
				return strings.Contains(strings.Join(strings.Fields(output), " "), "Block count: "+size+" ")
			}
			if err != nil || !blocks("131072") && !blocks("32768") {
				t.Errorf("it didn't grow to 128 MiB: %v\n%s", err, output)
			}
		})
	}
}
