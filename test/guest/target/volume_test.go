package target

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"syscall"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/test/guest/world"
)

const size = 16 << 20

// fill writes random bytes to the whole device and returns their checksum.
func fill(t *testing.T, device string) [sha256.Size]byte {
	t.Helper()
	content := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(content)
	file, err := os.OpenFile(device, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = file.Write(content)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		t.Fatalf("write to %s: %v", device, err)
	}
	return sha256.Sum256(content)
}

func checksum(t *testing.T, path string) [sha256.Size]byte {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	hash := sha256.New()
	if n, err := io.Copy(hash, file); err != nil || n != size {
		t.Fatalf("read %s: %d bytes, %v, want %d", path, n, err, size)
	}
	return [sha256.Size]byte(hash.Sum(nil))
}

func TestAVolumeIsReachableOnlyWhileItIsPublished(t *testing.T) {
	w := world.New(t, world.Options{})
	volume, host := w.Create(t, "pvc-1", size), nvme.HostOf("machine-a")
	first := volume.Publish(t, world.NodeA)
	controller, device := world.MustConnect(t, first, host, "reconnect_delay=1", "fast_io_fail_tmo=1", "ctrl_loss_tmo=-1")
	written := fill(t, device)
	if checksum(t, volume.File) != written {
		t.Error("the backing file doesn't hold what was written to the device")
	}

	volume.Unpublish(t, world.NodeA)
	if state := world.State(controller); state == "live" {
		t.Errorf("after unpublish the controller is %s", state)
	}
	world.DisconnectAll(first) // a kernel that retries would say that it does
	if got, err := world.Connect(first, host); !errors.Is(err, syscall.EIO) {
		t.Errorf("connect under the NQN of an epoch that ended: %q, %v, want it refused", got, err)
	}

	second := volume.Publish(t, world.NodeA)
	if got, err := world.Connect(first, host); second == first || !errors.Is(err, syscall.EIO) {
		t.Errorf("connect under the first epoch's NQN while a second one %s is published: %q, %v, want it refused", second, got, err)
	}
	_, device = world.MustConnect(t, second, host)
	if checksum(t, device) != written {
		t.Error("the second epoch doesn't read what the first one wrote")
	}
}

func TestAWriteAfterUnpublishFails(t *testing.T) {
	w := world.New(t, world.Options{})
	volume := w.Create(t, "pvc-1", size)
	nqn := volume.Publish(t, world.NodeA)
	_, device := world.MustConnect(t, nqn, nvme.HostOf("machine-a"), "reconnect_delay=1", "fast_io_fail_tmo=1", "ctrl_loss_tmo=-1")
	file, err := os.OpenFile(device, os.O_WRONLY|syscall.O_SYNC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	line := bytes.Repeat([]byte("before  "), 64)
	if _, err := file.WriteAt(line, 0); err != nil {
		t.Fatal(err)
	}
	volume.Unpublish(t, world.NodeA)
	if n, err := file.WriteAt(bytes.Repeat([]byte("after   "), 64), 0); err == nil {
		t.Errorf("%d bytes were written after unpublish", n)
	}
	content, err := os.ReadFile(volume.File)
	if err != nil || !bytes.Equal(content[:len(line)], line) {
		t.Errorf("the backing file begins with %q, %v, want what was written before", content[:8], err)
	}
}
