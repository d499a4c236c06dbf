package host

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"k8s.io/mount-utils"
	utilexec "k8s.io/utils/exec"
)

// newImage makes a file of zeros, which stands for a device.
func newImage(t *testing.T, size int64) string {
	t.Helper()
	image := filepath.Join(t.TempDir(), "device")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	resize(t, image, size)
	return image
}

func resize(t *testing.T, image string, size int64) {
	t.Helper()
	if err := os.Truncate(image, size); err != nil {
		t.Fatal(err)
	}
}

func writeAt(t *testing.T, image string, offset int64, text string) {
	t.Helper()
	file, err := os.OpenFile(image, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteAt([]byte(text), offset); err != nil {
		t.Error(err)
	}
	if err := file.Close(); err != nil {
		t.Error(err)
	}
}

// realHost runs the commands of this machine. The test is skipped if it lacks one of those.
func realHost(t *testing.T, commands ...string) *Host {
	t.Helper()
	for _, command := range commands {
		if _, err := exec.LookPath(command); err != nil {
			t.Skipf("a command is missing: %v", err)
		}
	}
	return New(Linux{}, mount.NewFakeMounter(nil), utilexec.New())
}
