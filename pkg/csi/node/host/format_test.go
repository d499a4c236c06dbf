package host

import (
	"os/exec"
	"path/filepath"
	"testing"

	"k8s.io/mount-utils"
	utilexec "k8s.io/utils/exec"
)

// blkid ends with the same status for an empty device and for one that it can't read.
func TestRealProbeOfUnreadableDevice(t *testing.T) {
	if _, err := exec.LookPath("blkid"); err != nil {
		t.Skipf("a command is missing: %v", err)
	}
	h := New(Linux{}, mount.NewFakeMounter(nil), utilexec.New())
	found, err := h.probe(t.Context(), filepath.Join(t.TempDir(), "absent"))
	if err == nil {
		t.Errorf("probe of an absent device = %q, nil, want an error", found)
	}
}
