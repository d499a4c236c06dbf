package appliance_test

import (
	"os"
	"path/filepath"
	"testing"
)

// writeFile writes text over the beginning of a file of the appliance.
func writeFile(t *testing.T, b *bench, name, text string) {
	t.Helper()
	file, err := os.OpenFile(filepath.Join(b.stateDir, "files", name), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	if _, err := file.WriteAt([]byte(text), 0); err != nil {
		t.Fatal(err)
	}
}

// readFile returns the first bytes of a file of the appliance.
func readFile(t *testing.T, b *bench, name string, n int) string {
	t.Helper()
	return firstBytes(t, filepath.Join(b.stateDir, "files", name), n)
}
