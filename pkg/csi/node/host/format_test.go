package host

import (
	"errors"
	"path/filepath"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
)

// blkid ends with the same status for an empty device and for one that it can't read.
func TestRealProbeOfUnreadableDevice(t *testing.T) {
	found, err := realHost(t, "blkid", "wipefs").probe(t.Context(), filepath.Join(t.TempDir(), "absent"))
	if err == nil {
		t.Errorf("probe of an absent device = %q, nil, want an error", found)
	}
}

// The data in a filesystem may look like another one: here like a CD's, at byte 32768, in a block that an image of a CD may
// well get. Such a filesystem is still the one that was asked for, and never blank.
func TestRealProbeOfAFilesystemThatAlsoLooksLikeAnother(t *testing.T) {
	for _, kind := range []string{ext4, xfs} {
		t.Run(kind, func(t *testing.T) {
			h := realHost(t, "blkid", "wipefs", "mkfs."+kind)
			device := newImage(t, 400<<20)
			if err := h.mkfs(t.Context(), device, kind); err != nil {
				t.Fatal(err)
			}
			writeAt(t, device, 32768, "\x01CD001\x01")
			if found, err := h.probe(t.Context(), device); err != nil || found == kind || found == "" {
				t.Fatalf("probe: got %q, %v, want that blkid sees more than one filesystem", found, err)
			}
			if there, err := h.holds(t.Context(), device, kind); err != nil || !there {
				t.Errorf("holds: got %t, %v, want that it may be mounted", there, err)
			}
			if err := h.Format(t.Context(), device, Filesystem{Kind: kind}); err != nil {
				t.Errorf("format: got %v, want that nothing is done", err)
			}
			other := map[string]string{ext4: xfs, xfs: ext4}[kind]
			if err := h.Format(t.Context(), device, Filesystem{Kind: other}); !errors.Is(err, failure.ErrOtherFilesystem) {
				t.Errorf("format as %s: got %v, want ErrOtherFilesystem", other, err)
			}
		})
	}
}
