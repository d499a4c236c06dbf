package host

import (
	"errors"
	"strings"
	"testing"
)

// A filesystem that was made by newer tools isn't damaged because e2fsck doesn't know it.
func TestRealFilesystemThatIsNewerThanItsCheck(t *testing.T) {
	h := realHost(t, "mkfs.ext4", "e2fsck", "debugfs", "dumpe2fs")
	device := newImage(t, 64<<20)
	if err := h.mkfs(t.Context(), device, ext4); err != nil {
		t.Fatal(err)
	}
	made, err := h.run(t.Context(), "dumpe2fs", "-h", device)
	if err != nil || strings.Contains(made, "orphan_file") || strings.Contains(made, "metadata_csum_seed") {
		t.Errorf("%v: it was made with features that kernels of today may not know:\n%s", err, made)
	}
	if err := h.fsck(t.Context(), device, "-p"); err != nil {
		t.Errorf("as it was made: %v", err)
	}
	if output, err := h.run(t.Context(), "debugfs", "-w", "-R", "set_super_value feature_incompat 0x100002c2", device); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	if err := h.fsck(t.Context(), device, "-p"); !errors.Is(err, errNewFeature) {
		t.Errorf("with a feature of the future: got %v, want errNewFeature", err)
	}
}
