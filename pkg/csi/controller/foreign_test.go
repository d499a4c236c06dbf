package controller

import (
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
)

// A volume that is another cluster's, or that was moved by hand, is never changed. Its detach succeeds if the appliance admits
// none of this cluster's nodes to it.
func TestUnpublishOfAVolumeThatIsNotOurs(t *testing.T) {
	for place, test := range map[string]struct {
		move func(*testing.T, *controllerWorld)
		says string
	}{
		"another cluster": {func(t *testing.T, w *controllerWorld) {
			t.Helper()
			w.config.ClusterID = "cluster-2"
			w.restart(t)
		}, "--cluster-id=cluster-1"},
		"another directory": {func(t *testing.T, w *controllerWorld) {
			t.Helper()
			if _, err := w.sim.Exec(t.Context(), `/file add name="raid10/moved" type=directory; /file add name="raid10/moved/cluster-1" type=directory; `+
				`/disk set [find where slot~"csi-"] file-path=("/raid10/moved/cluster-1/" . [/disk get [find where slot~"csi-"] slot] . ".img")`); err != nil {
				t.Fatal(err)
			}
			w.restart(t)
		}, "move the backing file"},
	} {
		for state, want := range map[attach.HolderState]codes.Code{
			attach.HolderGone: codes.OK, attach.HolderUnknown: codes.Unavailable,
			attach.HolderAttached: codes.FailedPrecondition, attach.HolderDetaching: codes.FailedPrecondition,
			attach.HolderGonePaused: codes.FailedPrecondition,
		} {
			t.Run(place+", holder "+state.String(), func(t *testing.T) {
				w := newControllerWorld(t)
				volume := w.create(t)
				w.mustPublish(t, volume, nodeA)
				test.move(t, w)
				before := w.sim.Disks()[0]
				w.setHolder(nodeA, state, time.Now())
				for range 2 {
					err := w.unpublish(t, volume, nodeA)
					if failure.Code(err) != want || want == codes.FailedPrecondition && !strings.Contains(err.Error(), test.says) {
						t.Errorf("got %v, want %v", err, want)
					}
				}
				if got := w.sim.Disks()[0]; got != before {
					t.Errorf("the disk was changed from %+v to %+v", before, got)
				}
				if noted := w.noted(attach.ForeignVolumeDetached); noted != (want == codes.OK) {
					t.Errorf("event: %t", noted)
				}
			})
		}
	}
}

// What this appliance has in the slot says nothing of a volume that is on another one.
func TestUnpublishOfAVolumeOnAnotherApplianceFails(t *testing.T) {
	for slot, prepare := range map[string]func(*testing.T, *controllerWorld, string){
		"empty": func(t *testing.T, w *controllerWorld, volume string) {
			t.Helper()
			if _, err := w.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: volume}); err != nil {
				t.Fatal(err)
			}
		},
		"unheld": func(*testing.T, *controllerWorld, string) {},
		"held by a node that is gone": func(t *testing.T, w *controllerWorld, volume string) {
			t.Helper()
			w.mustPublish(t, volume, nodeA)
			w.setHolder(nodeA, attach.HolderGone, time.Now())
		},
	} {
		t.Run(slot, func(t *testing.T) {
			w := newControllerWorld(t)
			volume := w.create(t)
			prepare(t, w, volume)
			err := w.unpublish(t, "other:"+volume, nodeA)
			if failure.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), `the driver that serves "other"`) {
				t.Errorf("got %v, want FailedPrecondition that says which driver to use", err)
			}
			if err != nil && strings.Count(err.Error(), "other:"+volume) > 1 {
				t.Errorf("it is said twice: %v", err)
			}
			if w.noted(attach.ForeignVolumeDetached) {
				t.Error("an event says that it is detached")
			}
		})
	}
}
