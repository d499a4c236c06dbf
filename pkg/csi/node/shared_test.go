package node

import (
	"errors"
	"os"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
)

// What is mounted in a folder that isn't shared with the host stays in the plugin's container, and the pod would write
// to the host's disk.
func TestNothingIsMountedWhereTheHostDoesNotSeeIt(t *testing.T) {
	for propagation, fields := range map[string][]string{"None": nil, "HostToContainer": {"master:1"}} {
		for name, call := range map[string]func(*nodeWorld) (string, error){
			"stage": func(w *nodeWorld) (string, error) {
				_, err := w.NodeStageVolume(t.Context(), w.stageRequest(t, epochA))
				return w.staging, err
			},
			"publish": func(w *nodeWorld) (string, error) {
				_, err := w.NodePublishVolume(t.Context(), w.publishRequest(t, epochA))
				return w.folder, err
			},
			"publish a raw block volume": func(w *nodeWorld) (string, error) {
				_, err := w.NodePublishVolume(t.Context(), w.blockPublish(t, oneWriter))
				return w.target, err
			},
		} {
			t.Run(name+" with "+propagation, func(t *testing.T) {
				w := newNodeWorld(t)
				w.mounts.disk.OptionalFields = fields
				path, err := call(w)
				if failure.Code(err) != codes.FailedPrecondition || !errors.Is(err, failure.ErrNotShared) {
					t.Fatalf("got %v, want FAILED_PRECONDITION", err)
				}
				for _, want := range []string{path, "Bidirectional", "make-rshared"} {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("%v doesn't say %q", err, want)
					}
				}
				if len(w.mounts.table) != 0 || w.connector.connects != 0 || len(w.commands.ran) != 0 {
					t.Errorf("mounted %v, connected %d times, ran %v, want nothing done", w.mounts.table, w.connector.connects, w.commands.ran)
				}
			})
		}
	}
}

// A raw block volume is only connected by stage; nothing is mounted there.
func TestStagingABlockVolumeNeedsNoSharedFolder(t *testing.T) {
	w := newNodeWorld(t)
	w.mounts.disk.OptionalFields = nil
	if _, err := w.NodeStageVolume(t.Context(), w.blockStage(t, oneWriter)); err != nil {
		t.Error(err)
	}
}

// What is unmounted in a folder that isn't shared stays mounted on the host. To disconnect it then would lose what the
// pod wrote.
func TestNothingIsDisconnectedThatStaysMountedOnTheHost(t *testing.T) {
	w := newNodeWorld(t)
	w.mustStage(t, epochA)
	w.mustPublish(t, epochA)
	w.mounts.disk.OptionalFields = []string{"master:1"}
	before := len(w.mounts.table)
	if err := w.unpublish(t); !errors.Is(err, failure.ErrNotShared) {
		t.Errorf("unpublish: got %v, want %v", err, failure.ErrNotShared)
	}
	w.mounts.disk.OptionalFields = []string{"shared:1"}
	if err := w.unpublish(t); err != nil {
		t.Fatal(err)
	}
	w.mounts.disk.OptionalFields = nil
	if err := w.unstage(t); !errors.Is(err, failure.ErrNotShared) {
		t.Errorf("unstage: got %v, want %v", err, failure.ErrNotShared)
	}
	if len(w.mounts.table) != before-1 || len(w.connector.devices) == 0 {
		t.Errorf("left: mounts %v, connections %v, want the staged volume still there", w.mounts.table, w.connector.devices)
	}
	// Nothing to unmount there, so nothing to refuse.
	if err := w.unpublish(t); err != nil {
		t.Errorf("unpublish what isn't mounted: %v", err)
	}
	w.mounts.disk.OptionalFields = []string{"shared:1"}
	w.mustRemove(t)
}

func TestCheckFolder(t *testing.T) {
	w := newNodeWorld(t)
	if err := w.CheckFolder(w.folder); err != nil {
		t.Errorf("shared: %v", err)
	}
	w.mounts.disk.OptionalFields = nil
	if err := w.CheckFolder(w.folder); !errors.Is(err, failure.ErrNotShared) || !strings.Contains(err.Error(), w.folder) {
		t.Errorf("private: %v, want %v that names the folder", err, failure.ErrNotShared)
	}
	if err := w.CheckFolder(w.folder + "/absent"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent: %v, want %v", err, os.ErrNotExist)
	}
}
