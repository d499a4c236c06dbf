package csi

import (
	"context"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim"
	"git.srvlab.io/whiskey/rds-csi-driver/test/simtest"
)

const (
	nodeA   = "node-a/machine-a"
	nodeB   = "node-b/machine-b"
	nodeC   = "node-c/machine-c"
	handle1 = "raid10/rds-csi/csi-3e2e1eef0c3d35e6f9a2a1c9a2b1"
)

// fakeNodes says what a test wants of nodes; a holder it doesn't know is unknown.
type fakeNodes struct {
	admission Admission
	refusal   error
	standings map[string]attach.Holder
	replaced  map[string]bool
	failed    error
	asked     int
}

func (f *fakeNodes) Admit(context.Context, string, attach.NodeID) (Admission, error) {
	return f.admission, f.refusal
}

func (f *fakeNodes) Standings(_ context.Context, _ string, holders []attach.NodeID) []attach.Holder {
	f.asked++
	var known []attach.Holder
	for _, id := range holders {
		holder := f.standings[id.String()]
		holder.ID = id
		known = append(known, holder)
	}
	return known
}

func (f *fakeNodes) Replaced(_ context.Context, node attach.NodeID) (bool, error) {
	return f.replaced[node.String()], f.failed
}

// controllerWorld is a controller service on a simulated appliance.
type controllerWorld struct {
	*Controller
	nodes     *fakeNodes
	sim       *sim.Sim
	client    *rds.Client
	config    rds.Config
	decisions []attach.Verdict
}

func newControllerWorld(t *testing.T) *controllerWorld {
	t.Helper()
	simulator, config := simtest.Start(t)
	w := &controllerWorld{nodes: &fakeNodes{standings: map[string]attach.Holder{}, replaced: map[string]bool{}}, sim: simulator, config: config}
	w.restart(t)
	return w
}

// restart replaces the controller by one that remembers nothing.
func (w *controllerWorld) restart(t *testing.T) {
	t.Helper()
	w.client = simtest.Client(t, w.config)
	controller, err := NewController(ControllerConfig{ClusterID: simtest.ClusterID, Directory: "rds-csi", Address: "192.0.2.1", Port: 4420, GracePeriod: 30 * time.Second},
		w.client, w.nodes, func(verdict attach.Verdict) { w.decisions = append(w.decisions, verdict) })
	if err != nil {
		t.Fatal(err)
	}
	w.Controller = controller
}

func mountCapability(mode csi.VolumeCapability_AccessMode_Mode) *csi.VolumeCapability {
	return &csi.VolumeCapability{
		AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{}},
		AccessMode: &csi.VolumeCapability_AccessMode{Mode: mode},
	}
}

func singleWriter() *csi.VolumeCapability {
	return mountCapability(csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER)
}

func createRequest(name string) *csi.CreateVolumeRequest {
	return &csi.CreateVolumeRequest{
		Name: name, Parameters: map[string]string{"pool": simtest.Pool}, VolumeCapabilities: []*csi.VolumeCapability{singleWriter()},
		CapacityRange: &csi.CapacityRange{RequiredBytes: 64 * mebibyte},
	}
}

func (w *controllerWorld) create(t *testing.T) string {
	t.Helper()
	response, err := w.CreateVolume(t.Context(), createRequest("pvc-1"))
	if err != nil {
		t.Fatalf("create: %v", err)
	}
	return response.GetVolume().GetVolumeId()
}

func (w *controllerWorld) publish(t *testing.T, volume, node string) (publishContext, error) {
	t.Helper()
	response, err := w.ControllerPublishVolume(t.Context(), &csi.ControllerPublishVolumeRequest{VolumeId: volume, NodeId: node, VolumeCapability: singleWriter()})
	if err != nil {
		return publishContext{}, err
	}
	decoded, err := decodePublishContext(response.GetPublishContext())
	if err != nil {
		t.Fatalf("the node can't read the publish context: %v", err)
	}
	return decoded, nil
}

func (w *controllerWorld) mustPublish(t *testing.T, volume, node string) publishContext {
	t.Helper()
	published, err := w.publish(t, volume, node)
	if err != nil {
		t.Fatalf("publish to %s: %v", node, err)
	}
	return published
}

func (w *controllerWorld) unpublish(t *testing.T, volume, node string) error {
	t.Helper()
	_, err := w.ControllerUnpublishVolume(t.Context(), &csi.ControllerUnpublishVolumeRequest{VolumeId: volume, NodeId: node})
	return err
}

// reachable gives the subsystem NQN under which the appliance lets anybody in, or nothing.
func (w *controllerWorld) reachable() string {
	for _, disk := range w.sim.Disks() {
		if disk.Exported {
			return disk.SubsystemNQN
		}
	}
	return ""
}

func (w *controllerWorld) standing(node string, standing attach.Standing, since time.Time) {
	w.nodes.standings[node] = attach.Holder{Standing: standing, DetachingSince: since}
}
