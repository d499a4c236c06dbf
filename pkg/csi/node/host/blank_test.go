package host

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestProveBlankReadsWhatIsThere(t *testing.T) {
	folder := t.TempDir()
	for name, c := range map[string]struct {
		size  int64
		blank bool
	}{"nothing": {0, false}, "one byte": {1, true}, "less than two edges": {edgeLength + 5, true}} {
		path := filepath.Join(folder, strings.ReplaceAll(name, " ", "-"))
		if err := os.WriteFile(path, make([]byte, c.size), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := proveBlank(path); (err == nil) != c.blank {
			t.Errorf("proveBlank(%s) = %v, want blank=%t", name, err, c.blank)
		}
	}
	if err := proveBlank(filepath.Join(folder, "absent")); err == nil {
		t.Error("proveBlank(absent) = nil, want an error")
	}
}
