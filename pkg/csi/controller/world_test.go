package controller

import (
	"context"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/publishcontext"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim"
	"git.srvlab.io/whiskey/rds-csi-driver/test/simtest"
)

const (
	nodeA   = "node-a/machine-a"
	nodeB   = "node-b/machine-b"
	nodeC   = "node-c/machine-c"
	handle1 = "raid10/rds-csi/cluster-1/csi-3e2e1eef0c3d35e6f9a2a1c9a2b1"
)

// fakeNodes says what a test wants of nodes; a holder it doesn't know is unknown.
type fakeNodes struct {
	admission attach.Admission
	refusal   error
	// refuseLater is why nodes aren't admitted any more once one was.
	refuseLater  error
	holderStates map[string]attach.Holder
	failed       error
	asked        int
	stoppedUsing map[string]bool
	granted      attach.Grant
	others       []attach.NodeID
	grants       []attach.Grant
	// onGrants, unless nil, is called before the grants are given.
	onGrants func(context.Context)
	changed  chan struct{}
}

func (f *fakeNodes) StoppedUsing(_ context.Context, _ string, node attach.NodeID) bool {
	return f.stoppedUsing[node.String()]
}

func (f *fakeNodes) Granted(string) attach.Grant { return f.granted }

func (f *fakeNodes) OthersGranted(string, attach.Record) []attach.NodeID { return f.others }

func (f *fakeNodes) Grants(ctx context.Context, _ string) ([]attach.Grant, error) {
	if f.onGrants != nil {
		f.onGrants(ctx)
	}
	return f.grants, f.failed
}

func (f *fakeNodes) Changed(context.Context, string) <-chan struct{} { return f.changed }

func (f *fakeNodes) Admit(context.Context, string, attach.NodeID) (attach.Admission, error) {
	refusal := f.refusal
	if f.refuseLater != nil {
		f.refusal = f.refuseLater
	}
	return f.admission, refusal
}

func (f *fakeNodes) HolderStates(_ context.Context, _ string, holders []attach.NodeID) []attach.Holder {
	f.asked++
	var known []attach.Holder
	for _, id := range holders {
		holder := f.holderStates[id.String()]
		holder.ID = id
		known = append(known, holder)
	}
	return known
}

// controllerWorld is a controller service on a simulated appliance.
type controllerWorld struct {
	*Service
	nodes     *fakeNodes
	sim       *sim.Sim
	client    *rds.Client
	config    simtest.Config
	decisions []attach.Verdict
	notes     []attach.Note
	restored  []attach.RestoreReason
	handedOff int
	// await, unless nil, is how the next controller waits.
	await func(context.Context, <-chan struct{}) error
}

func newControllerWorld(t *testing.T) *controllerWorld {
	t.Helper()
	simulator, config := simtest.Start(t)
	w := &controllerWorld{nodes: &fakeNodes{holderStates: map[string]attach.Holder{}}, sim: simulator, config: config}
	w.restart(t)
	return w
}

// restart replaces the controller by one that remembers nothing.
func (w *controllerWorld) restart(t *testing.T) {
	t.Helper()
	w.client = simtest.Client(t, w.config)
	await := w.await
	if await == nil {
		// A request that would wait doesn't, so that no test waits.
		await = func(context.Context, <-chan struct{}) error { return context.DeadlineExceeded }
	}
	service, err := New(Config{
		ClusterID: simtest.ClusterID, Directory: "rds-csi", Address: "192.0.2.1", Port: 4420,
		GracePeriod: 30 * time.Second, MaxWaiting: 1, Await: await,
	},
		w.client, w.nodes, Observer{
			Decided:   func(verdict attach.Verdict) { w.decisions = append(w.decisions, verdict) },
			HandedOff: func() { w.handedOff++ },
			Note:      func(note attach.Note) { w.notes = append(w.notes, note) },
			Restored:  func(reason attach.RestoreReason) { w.restored = append(w.restored, reason) },
		})
	if err != nil {
		t.Fatal(err)
	}
	w.Service = service
}

// restartWaiting replaces the controller by one whose requests wait as in the product. The channel is closed when the one
// request of the test begins to wait.
func (w *controllerWorld) restartWaiting(t *testing.T) <-chan struct{} {
	t.Helper()
	waiting := make(chan struct{})
	w.await = func(ctx context.Context, signal <-chan struct{}) error {
		close(waiting)
		return awaitSignal(ctx, signal)
	}
	w.restart(t)
	return waiting
}

func mountCapability(mode csi.VolumeCapability_AccessMode_Mode) *csi.VolumeCapability {
	return &csi.VolumeCapability{
		AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{}},
		AccessMode: &csi.VolumeCapability_AccessMode{Mode: mode},
	}
}

// sharedBlock is what a virtual machine that can migrate asks for.
func sharedBlock() *csi.VolumeCapability {
	return &csi.VolumeCapability{
		AccessType: &csi.VolumeCapability_Block{Block: &csi.VolumeCapability_BlockVolume{}},
		AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER},
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

func (w *controllerWorld) createNamed(t *testing.T, name string) string {
	t.Helper()
	request := createRequest(name)
	// A requirement that is there and empty requires nothing.
	request.AccessibilityRequirements = &csi.TopologyRequirement{Requisite: []*csi.Topology{{}}}
	response, err := w.CreateVolume(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	return response.GetVolume().GetVolumeId()
}

func (w *controllerWorld) publish(t *testing.T, volume, node string) (publishcontext.Context, error) {
	t.Helper()
	return w.publishAs(t, volume, node, singleWriter())
}

func (w *controllerWorld) publishAs(t *testing.T, volume, node string, capability *csi.VolumeCapability) (publishcontext.Context, error) {
	t.Helper()
	response, err := w.ControllerPublishVolume(t.Context(), &csi.ControllerPublishVolumeRequest{VolumeId: volume, NodeId: node, VolumeCapability: capability})
	if err != nil {
		return publishcontext.Context{}, err
	}
	decoded, err := publishcontext.Decode(response.GetPublishContext())
	if err != nil {
		t.Fatalf("the node can't read the publish context: %v", err)
	}
	return decoded, nil
}

func (w *controllerWorld) mustPublish(t *testing.T, volume, node string) publishcontext.Context {
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

func (w *controllerWorld) setHolder(node string, state attach.HolderState, since time.Time) {
	w.nodes.holderStates[node] = attach.Holder{State: state, DetachingSince: since}
}
