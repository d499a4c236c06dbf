package node

import (
	"path/filepath"
	"testing"

	"google.golang.org/grpc/codes"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
)

// A kernel gives the name of a device that it gave up to the next volume. Whatever is found under it then must not be
// formatted, mounted, or shown to a pod.
func TestANameThatBecameAnotherVolumesIsNotUsed(t *testing.T) {
	for name, call := range map[string]func(*testing.T, *nodeWorld) error{
		"stage": func(t *testing.T, w *nodeWorld) error {
			t.Helper()
			_, err := w.NodeStageVolume(t.Context(), w.stageRequest(t, epochA))
			return err
		},
		"publish": func(t *testing.T, w *nodeWorld) error {
			t.Helper()
			_, err := w.NodePublishVolume(t.Context(), w.publishRequest(t, epochA))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newNodeWorld(t)
			given := filepath.Join(w.folder, "nvme0n1")
			w.mounts.onOpen = func(path string) {
				// The connection was lost and made again: the volume is at another device, and its first name another's.
				w.mounts.onOpen = nil
				delete(w.connector.devices, subsystemNQN(t, epochA))
				if _, err := w.connector.attach(subsystemNQN(t, epochA)); err != nil || path != given {
					t.Errorf("opened %s: %v, want %s", path, err, given)
				}
				w.connector.devices["nqn.of.another"] = given
			}
			if got := failure.Code(call(t, w)); got != codes.Unavailable || len(w.commands.ran) != 0 || len(w.mounts.table) != 0 {
				t.Errorf("got %v, commands %v, mounts %v, want Unavailable and nothing done", got, w.commands.ran, w.mounts.table)
			}
			w.mustStage(t, epochA)
			w.mustPublish(t, epochA)
			if got := w.mountedAt(w.target); len(got) != 1 || got[0] != "nvme1n1" {
				t.Errorf("published %v in the end, want nvme1n1", got)
			}
		})
	}
}
