package host

import (
	"os"
	"path/filepath"
	"testing"
)

func TestOnlyBlockDevicesAreOpened(t *testing.T) {
	folder := t.TempDir()
	file, link := filepath.Join(folder, "file"), filepath.Join(folder, "link")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, link, folder, filepath.Join(folder, "missing")} {
		if file, _, err := (Linux{}).Open(path); err == nil {
			t.Errorf("opened %s as a device: %v", path, file.Close())
		}
	}
}
