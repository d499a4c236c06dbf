package host

import (
	"strings"
	"testing"
)

// An ext4 that isn't mounted grows, also if it was mounted since its last full check, which resize2fs doesn't like.
func TestRealExt4GrowsBeforeItIsMounted(t *testing.T) {
	h := realHost(t, "mkfs.ext4", "e2fsck", "resize2fs", "debugfs", "dumpe2fs")
	for name, spoil := range map[string]string{"never mounted": "stats", "mounted since its check": "set_super_value mtime 20990101"} {
		t.Run(name, func(t *testing.T) {
			device := newImage(t, 64<<20)
			if err := h.mkfs(t.Context(), device, ext4); err != nil {
				t.Fatal(err)
			}
			if output, err := h.run(t.Context(), "debugfs", "-w", "-R", spoil, device); err != nil {
				t.Fatalf("%v: %s", err, output)
			}
			resize(t, device, 128<<20)
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
