package volumehealth

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The reasons are stored in pods' status: golden.
func TestGoldenReasons(t *testing.T) {
	want := []string{"ConnectionLost", "DeviceReplaced", "FilesystemShutDown", "FilesystemReadOnly"}
	if diff := cmp.Diff(want, Lost()); diff != "" {
		t.Errorf("given up for good (-want +got):\n%s", diff)
	}
	if ConnectionBroken != "ConnectionBroken" || slices.Contains(Lost(), ConnectionBroken) {
		t.Errorf("%s must be called so, and its I/O may go on", ConnectionBroken)
	}
}
