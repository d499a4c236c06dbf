package controller

import (
	"slices"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
)

// Sidecars go by this list. LIST_VOLUMES_PUBLISHED_NODES would have external-attacher publish again, a minute later and
// on a cache that may be old, whatever differs from ListVolumes: also to a node that another one has relieved since.
func TestWhatTheControllerOffers(t *testing.T) {
	w := newControllerWorld(t)
	response, err := w.ControllerGetCapabilities(t.Context(), &csi.ControllerGetCapabilitiesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, capability := range response.GetCapabilities() {
		got = append(got, capability.GetRpc().GetType().String())
	}
	want := []string{
		"CREATE_DELETE_VOLUME", "EXPAND_VOLUME", "GET_CAPACITY", "GET_VOLUME", "GET_VOLUME_HEALTH", "LIST_VOLUMES",
		"LIST_VOLUME_HEALTH", "PUBLISH_READONLY", "PUBLISH_UNPUBLISH_VOLUME", "SINGLE_NODE_MULTI_WRITER",
	}
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// ReadWriteOncePod is one pod, so one node: the scheduler sees to the pod, and nobody but us to the node.
func TestReadWriteOncePod(t *testing.T) {
	w := newControllerWorld(t)
	volume := w.create(t)
	capability := mountCapability(csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER)
	first, err := w.publishAs(t, volume, nodeA, capability)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := w.publishAs(t, volume, nodeA, capability); err != nil || again != first {
		t.Errorf("the same node again: %v, %v, want %v", again, err, first)
	}
	w.setHolder(nodeA, attach.HolderAttached, time.Time{})
	if _, err := w.publishAs(t, volume, nodeB, capability); failure.Code(err) != codes.FailedPrecondition || w.reachable() != first.Target.SubsystemNQN {
		t.Errorf("a second node: %v, exported %q, want FAILED_PRECONDITION and the first one's export", err, w.reachable())
	}
}

func TestGetVolume(t *testing.T) {
	w := newControllerWorld(t)
	volume := w.create(t)
	get := func(id string) (*csi.ControllerGetVolumeResponse, error) {
		return w.ControllerGetVolume(t.Context(), &csi.ControllerGetVolumeRequest{VolumeId: id})
	}
	check := func(what string, nodes ...string) {
		t.Helper()
		got, err := get(volume)
		if err != nil || got.GetVolume().GetVolumeId() != volume || got.GetVolume().GetCapacityBytes() != 64*mebibyte || !slices.Equal(got.GetStatus().GetPublishedNodeIds(), nodes) {
			t.Errorf("%s: %v, %v, want 64 MiB published to %v", what, got, err, nodes)
		}
	}
	check("nobody has it")
	w.setHolder(nodeA, attach.HolderAttached, time.Time{})
	for _, node := range []string{nodeA, nodeB} {
		if _, err := w.publishAs(t, volume, node, sharedBlock()); err != nil {
			t.Fatal(err)
		}
	}
	check("two have it", nodeA, nodeB)
	if err := w.unpublish(t, volume, ""); err != nil {
		t.Fatal(err)
	}
	check("nobody has it any more")
	for _, id := range []string{handle1, "not-ours"} {
		if _, err := get(id); failure.Code(err) != codes.NotFound {
			t.Errorf("%s: %v, want NOT_FOUND", id, err)
		}
	}
}
