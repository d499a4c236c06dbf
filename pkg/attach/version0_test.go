package attach

import (
	"errors"
	"strings"
	"testing"
)

const handleOfVersion0 = "pvc-ccdecfad-a8bf-572e-9120-464c4d99f12f"

// Everything else is none of v0.x: csi-sanity and people use such names for volumes that never were.
func TestOnlyTheHandlesOfVersion0AreRefused(t *testing.T) {
	err := CheckVersion(handleOfVersion0)
	if !errors.Is(err, ErrVersion0) || !strings.Contains(err.Error(), handleOfVersion0) || !strings.Contains(err.Error(), "docs/migrating.md") {
		t.Errorf("got %v, want an error that names the handle and the page", err)
	}
	for _, handle := range []string{
		"", "pvc-1", "pvc-", handleOfVersion0[len("pvc-"):], "x" + handleOfVersion0, handleOfVersion0 + "x", handleOfVersion0 + "\n",
		strings.ToUpper(handleOfVersion0), strings.Replace(handleOfVersion0, "c", "g", 2), strings.ReplaceAll(handleOfVersion0, "-", ""),
		"raid10/rds-csi/cluster-1/csi-0123456789abcdef0123456789ab", "raid10/" + handleOfVersion0,
	} {
		if err := CheckVersion(handle); err != nil {
			t.Errorf("%q: %v", handle, err)
		}
	}
}
