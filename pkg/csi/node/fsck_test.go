package node

import (
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
	"git.srvlab.io/whiskey/rds-csi-driver/test/requests"
)

// Every status that e2fsck can end with: its bits, alone and two of them together.
func TestOnlyASoundFilesystemIsMounted(t *testing.T) {
	statuses := map[int]bool{0: true}
	for a := range 8 {
		for b := range 8 {
			statuses[1<<a|1<<b] = true
		}
	}
	for status := range statuses {
		want := codes.Internal
		switch {
		case status == 0, status == 1:
			want = codes.OK
		case status&4 != 0:
			want = codes.FailedPrecondition
		}
		w := newNodeWorld(t)
		w.commands.answers = map[string]answer{"e2fsck": {"UNEXPECTED INCONSISTENCY", status}}
		_, err := w.NodeStageVolume(t.Context(), w.stageRequest(t, epochA))
		if failure.Code(err) != want || (want == codes.OK) != (len(w.mounts.table) == 1) {
			t.Errorf("e2fsck ends with %d: stage: %v, mounts %v, want %v", status, err, w.mounts.table, want)
		}
		if want == codes.FailedPrecondition && !strings.Contains(err.Error(), "e2fsck -f") {
			t.Errorf("the error names no next step: %v", err)
		}
	}
}

func TestWhatIsNotChecked(t *testing.T) {
	for name, prepare := range map[string]func(*nodeWorld, *csi.NodeStageVolumeRequest){
		"xfs": func(w *nodeWorld, request *csi.NodeStageVolumeRequest) {
			request.VolumeCapability = requests.Writer("xfs")
		},
		"read only": func(w *nodeWorld, request *csi.NodeStageVolumeRequest) {
			w.mustStage(w.t, epochA)
			if err := w.unstage(w.t); err != nil {
				w.t.Fatal(err)
			}
			request.VolumeCapability = requests.Writer("ext4", "ro")
		},
		"mounted in a pod": func(w *nodeWorld, _ *csi.NodeStageVolumeRequest) {
			w.mustStage(w.t, epochA)
			w.mustPublish(w.t, epochA)
			if err := w.mounts.Unmount(w.staging); err != nil {
				w.t.Fatal(err)
			}
		},
		"staged already": func(w *nodeWorld, _ *csi.NodeStageVolumeRequest) { w.mustStage(w.t, epochA) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newNodeWorld(t)
			request := w.stageRequest(t, epochA)
			prepare(w, request)
			w.commands.ran = nil
			if _, err := w.NodeStageVolume(t.Context(), request); err != nil {
				t.Fatal(err)
			}
			if got := w.commands.count("e2fsck"); got != 0 {
				t.Errorf("e2fsck ran %d times, want never: %v", got, w.commands.ran)
			}
		})
	}
}

func TestStagingChecksBeforeItMounts(t *testing.T) {
	w := newNodeWorld(t)
	w.mustStage(t, epochA)
	w.fence(t)
	w.commands.ran = nil
	w.mustStage(t, epochB)
	if got := w.commands.count("e2fsck -p "); got != 1 {
		t.Errorf("e2fsck ran %d times for a filesystem that is mounted anew, want once: %v", got, w.commands.ran)
	}
}
