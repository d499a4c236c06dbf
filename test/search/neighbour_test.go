package search

import (
	"context"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
)

// neighbourID is the ID of another cluster on the same appliance.
const neighbourID = "cluster-2"

// neighbour is another cluster's controller and provisioner. Its volumes have the names of ours, in the same pool and
// directory. Now and then somebody there also deletes or detaches a PersistentVolume that has one of our handles.
func (w *world) neighbour() {
	theirs := w.newProcess("neighbour", w.without.neighbourID)
	w.stopListening(theirs) // it has an API server of its own
	w.neighbours = &provisioner{w: w, gone: map[string]bool{}, controllers: func() []*process { return []*process{theirs} }}
	w.e.spawn("neighbour's provisioner", w.neighbours.run)
	for !w.calm {
		w.e.sleep(w.e.upTo(20 * time.Second))
		handle := w.provisioner.handle
		if v := w.e.random.IntN(len(w.volumes) + 1); handle == "" || v < len(w.volumes) {
			handle = w.volumes[min(v, len(w.volumes)-1)].handle
		}
		w.reach(foreignCall)
		what, run := "delete", func(ctx context.Context) error {
			_, err := theirs.controller.DeleteVolume(ctx, &csi.DeleteVolumeRequest{VolumeId: handle})
			return err
		}
		if w.e.chance(2) {
			what, run = "unpublish", func(ctx context.Context) error {
				node := attach.NodeID{Name: "a", Machine: "machine-1"}
				_, err := theirs.controller.ControllerUnpublishVolume(ctx, &csi.ControllerUnpublishVolumeRequest{VolumeId: handle, NodeId: node.String()})
				return err
			}
		}
		// What admits none of its nodes counts as detached there, without a change.
		if err := theirs.call("neighbour's "+what, run); err == nil && what == "delete" {
			w.truth.breaks("another cluster's controller says that it deleted %s", handle)
		}
	}
}
