package node

import (
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
	"git.srvlab.io/whiskey/rds-csi-driver/test/requests"
)

func (w *nodeWorld) expandRequest(path string, required int64) *csi.NodeExpandVolumeRequest {
	return &csi.NodeExpandVolumeRequest{VolumeId: testVolume, VolumePath: path, StagingTargetPath: w.staging, CapacityRange: &csi.CapacityRange{RequiredBytes: required}}
}

func TestStagingGrowsTheFilesystem(t *testing.T) {
	for kind, want := range map[string]string{"ext4": "resize2fs ", "xfs": "xfs_growfs "} {
		w := newNodeWorld(t)
		request := w.stageRequest(t, epochA)
		request.VolumeCapability = requests.Writer(kind)
		for calls := range 2 {
			if _, err := w.NodeStageVolume(t.Context(), request); err != nil {
				t.Fatal(err)
			}
			// A first call may have been interrupted between mounting and growing. An ext4 is grown before it is mounted, too.
			times := calls + map[string]int{"ext4": 2, "xfs": 1}[kind]
			if got := w.commands.count(want); got != times {
				t.Errorf("%s: %s ran %d times after %d calls: %v", kind, want, got, calls+1, w.commands.ran)
			}
		}
	}
}

// A volume that can't be grown is usable all the same, but whoever asked for the size must hear of it.
func TestFilesystemThatCannotBeGrown(t *testing.T) {
	w := newNodeWorld(t)
	w.commands.answers = map[string]answer{"resize2fs": {"can't", 1}}
	w.mustStage(t, epochA)
	if _, err := w.NodeExpandVolume(t.Context(), w.expandRequest(w.staging, 0)); err == nil || !strings.Contains(err.Error(), "resize2fs: exit 1: can't") {
		t.Errorf("expand with a failing resize2fs: got %v, want what it says", err)
	}
}

func TestAFilesystemIsNotGrownBeyondTheLimit(t *testing.T) {
	w := newNodeWorld(t)
	w.mustStage(t, epochA)
	w.commands.ran = nil
	request := w.expandRequest(w.staging, 0)
	request.CapacityRange.LimitBytes = 4<<20 - 1
	if _, err := w.NodeExpandVolume(t.Context(), request); failure.Code(err) != codes.OutOfRange || w.commands.count("resize2fs") != 0 {
		t.Errorf("expand beyond limit_bytes: %v, commands %v, want OutOfRange and nothing grown", err, w.commands.ran)
	}
	request.CapacityRange.LimitBytes++
	if _, err := w.NodeExpandVolume(t.Context(), request); err != nil {
		t.Errorf("expand to limit_bytes: %v", err)
	}
}

func TestReadOnlyFilesystemIsNotGrown(t *testing.T) {
	w := newNodeWorld(t)
	w.mustStage(t, epochA)
	if err := w.unstage(t); err != nil {
		t.Fatal(err)
	}
	w.commands.ran = nil
	request := w.stageRequest(t, epochA)
	request.VolumeCapability = requests.Writer("ext4", "ro")
	if _, err := w.NodeStageVolume(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	if _, err := w.NodeExpandVolume(t.Context(), w.expandRequest(w.staging, 0)); err != nil {
		t.Fatal(err)
	}
	if got := w.commands.count("resize2fs"); got != 0 {
		t.Errorf("resize2fs ran %d times on a read-only mount", got)
	}
}

func TestExpandWaitsForTheDeviceAndGrowsTheFilesystem(t *testing.T) {
	const size = 8 << 20
	for name, path := range map[string]func(*nodeWorld) string{
		"staged":    func(w *nodeWorld) string { return w.staging },
		"published": func(w *nodeWorld) string { return w.target },
	} {
		t.Run(name, func(t *testing.T) {
			w := newNodeWorld(t)
			w.mustStage(t, epochA)
			w.mustPublish(t, epochA)
			w.commands.ran = nil
			device := w.connector.devices[subsystemNQN(t, epochA)]
			w.connector.onRescan = func() { w.mounts.sizes[device] = size }
			for range 2 {
				response, err := w.NodeExpandVolume(t.Context(), w.expandRequest(path(w), size))
				if err != nil || response.GetCapacityBytes() != size {
					t.Errorf("expand: %v, %v, want %d bytes", response, err, size)
				}
			}
			if got := w.commands.count("resize2fs " + device); got != 2 {
				t.Errorf("commands %v, want the filesystem grown", w.commands.ran)
			}
		})
	}
}

func TestExpandOfABlockVolumeGrowsNothing(t *testing.T) {
	w := newNodeWorld(t)
	w.mustBlock(t)
	request := w.expandRequest(w.target, 4<<20)
	request.VolumeCapability = blockOf(oneWriter)
	for _, path := range []string{w.target, w.staging} {
		request.VolumePath = path
		if response, err := w.NodeExpandVolume(t.Context(), request); err != nil || response.GetCapacityBytes() != 4<<20 {
			t.Errorf("expand at %s: %v, %v", path, response, err)
		}
	}
	if len(w.connector.rescanned) != 2 || len(w.commands.ran) != 0 {
		t.Errorf("rescanned %v, commands %v, want two rescans and no command", w.connector.rescanned, w.commands.ran)
	}
}

// Kubelet takes success for the new size, so there must be none before the device has it.
func TestExpandIsUnavailableUntilTheDeviceHasTheSize(t *testing.T) {
	w := newNodeWorld(t)
	w.mustStage(t, epochA)
	w.commands.ran = nil
	request := w.expandRequest(w.staging, 8<<20)
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		_, err := w.NodeExpandVolume(t.Context(), request)
		if failure.Code(err) != codes.Unavailable || time.Since(start) != growthLimit {
			t.Errorf("expand: %v after %v, want Unavailable after %v", err, time.Since(start), growthLimit)
		}
	})
	if len(w.commands.ran) != 0 {
		t.Errorf("commands %v ran though the device hasn't grown", w.commands.ran)
	}
}

func TestExpandOfWhatIsNotThere(t *testing.T) {
	w := newNodeWorld(t)
	if _, err := w.NodeExpandVolume(t.Context(), w.expandRequest(w.staging, 0)); failure.Code(err) != codes.NotFound {
		t.Errorf("expand of what isn't staged: %v, want NotFound", err)
	}
	w.mustStage(t, epochA)
	if _, err := w.NodeExpandVolume(t.Context(), w.expandRequest(filepath.Join(w.folder, "nowhere"), 0)); failure.Code(err) != codes.NotFound {
		t.Errorf("expand at a path that isn't there: %v, want NotFound", err)
	}
	if len(w.connector.rescanned) != 0 {
		t.Errorf("rescanned %v", w.connector.rescanned)
	}
}
