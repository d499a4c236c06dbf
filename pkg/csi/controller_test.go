package csi

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"

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

func TestPublishGivesEachHoldingItsOwnEpoch(t *testing.T) {
	w := newControllerWorld(t)
	volume := w.create(t)
	if got := w.reachable(); got != "" {
		t.Errorf("before anybody holds it, %s is exported", got)
	}
	first := w.mustPublish(t, volume, nodeA)
	if got := w.reachable(); got != first.target.SubsystemNQN {
		t.Errorf("exported is %q, the node was told %q", got, first.target.SubsystemNQN)
	}
	if again := w.mustPublish(t, volume, nodeA); again != first {
		t.Errorf("publish again: got %+v, want the same %+v", again, first)
	}
	if err := w.unpublish(t, volume, nodeA); err != nil {
		t.Fatal(err)
	}
	if got := w.reachable(); got != "" {
		t.Errorf("after unpublish, %s is still exported", got)
	}
	second := w.mustPublish(t, volume, nodeA)
	if second.target.SubsystemNQN == first.target.SubsystemNQN || second.generation <= first.generation {
		t.Errorf("second holding: got %+v after %+v, want a new epoch and a higher generation", second, first)
	}
}

// Every case is: a holds the volume, b asks for it.
func TestPublishToAnotherNode(t *testing.T) {
	tests := map[string]struct {
		standing attach.Standing
		since    time.Duration
		want     codes.Code
		verdict  attach.Verdict
	}{
		"holder is attached":               {attach.StandingAttached, 0, codes.FailedPrecondition, attach.Conflict},
		"holder is detaching within grace": {attach.StandingDetaching, time.Second, codes.OK, attach.HandOff},
		"holder is detaching for too long": {attach.StandingDetaching, time.Minute, codes.FailedPrecondition, attach.Conflict},
		"holder's node is gone":            {attach.StandingGone, 0, codes.OK, attach.TakeOver},
		"holder's attachment is gone":      {attach.StandingDetached, 0, codes.OK, attach.TakeOver},
		"holder is unknown":                {attach.StandingUnknown, 0, codes.Unavailable, attach.Unknown},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := newControllerWorld(t)
			volume := w.create(t)
			old := w.mustPublish(t, volume, nodeA)
			w.standing(nodeA, test.standing, time.Now().Add(-test.since))
			_, err := w.publish(t, volume, nodeB)
			if got := codeOf(err); test.want == codes.OK && err != nil || test.want != codes.OK && got != test.want {
				t.Fatalf("got %v (%s), want %s", err, got, test.want)
			}
			if err != nil && !strings.Contains(err.Error(), "node-a") {
				t.Errorf("the error doesn't name the holder: %v", err)
			}
			if got := w.decisions[len(w.decisions)-1]; got != test.verdict {
				t.Errorf("verdict: got %s, want %s", got, test.verdict)
			}
			if changed := w.reachable() != old.target.SubsystemNQN; changed != (test.want == codes.OK) {
				t.Errorf("the old holder was fenced: %t, want %t", changed, test.want == codes.OK)
			}
		})
	}
}

// a detaches, b takes over within grace; c comes within the same 30 seconds while b is attached.
func TestGraceIsNotAnOpenDoor(t *testing.T) {
	w := newControllerWorld(t)
	volume := w.create(t)
	w.mustPublish(t, volume, nodeA)
	w.standing(nodeA, attach.StandingDetaching, time.Now())
	b := w.mustPublish(t, volume, nodeB)
	w.standing(nodeB, attach.StandingAttached, time.Time{})
	if _, err := w.publish(t, volume, nodeC); codeOf(err) != codes.FailedPrecondition {
		t.Errorf("c: got %v, want a conflict with b", err)
	}
	if w.reachable() != b.target.SubsystemNQN {
		t.Error("b was fenced")
	}
}

// A controller that starts anew, or a second one, knows what the appliance's record says and nothing else.
func TestTheRecordOutlivesTheController(t *testing.T) {
	w := newControllerWorld(t)
	volume := w.create(t)
	first := w.mustPublish(t, volume, nodeA)
	w.restart(t)
	if again := w.mustPublish(t, volume, nodeA); again != first {
		t.Errorf("after a restart: got %+v, want %+v", again, first)
	}
	w.restart(t)
	w.standing(nodeA, attach.StandingAttached, time.Time{})
	if _, err := w.publish(t, volume, nodeB); codeOf(err) != codes.FailedPrecondition {
		t.Errorf("after a restart, b while a holds: got %v, want a conflict", err)
	}
}

// Two controllers act on one volume, each with its own memory of it. One holder comes out, and it is what the record says.
func TestTwoControllersAgreeOnOneHolder(t *testing.T) {
	w := newControllerWorld(t)
	volume := w.create(t)
	first := w.Controller
	w.restart(t)
	second := w.Controller
	w.standing(nodeA, attach.StandingAttached, time.Time{})
	w.standing(nodeB, attach.StandingAttached, time.Time{})
	results := make(chan error, 2)
	for node, controller := range map[string]*Controller{nodeA: first, nodeB: second} {
		go func() {
			_, err := controller.ControllerPublishVolume(t.Context(), &csi.ControllerPublishVolumeRequest{VolumeId: volume, NodeId: node, VolumeCapability: singleWriter()})
			results <- err
		}()
	}
	var failed []error
	for range 2 {
		if err := <-results; err != nil {
			failed = append(failed, err)
		}
	}
	if len(failed) != 1 || codeOf(failed[0]) != codes.FailedPrecondition {
		t.Errorf("failures: %v, want exactly one conflict", failed)
	}
}

func TestACommonPublishTakesOneExec(t *testing.T) {
	var execs int
	simulator, config := simtest.Start(t, func(o *sim.Options) { o.Observe = func(sim.Execution) { execs++ } })
	w := &controllerWorld{nodes: &fakeNodes{}, sim: simulator, config: config}
	w.restart(t)
	volume := w.create(t)
	execs = 0
	w.mustPublish(t, volume, nodeA)
	if execs != 1 {
		t.Errorf("publish took %d execs, want 1", execs)
	}
	execs = 0
	if err := w.unpublish(t, volume, nodeA); err != nil || execs != 1 {
		t.Errorf("unpublish took %d execs (%v), want 1", execs, err)
	}
}

func TestPublishIsRefusedBeforeTheApplianceIsAsked(t *testing.T) {
	for _, refusal := range []error{attach.ErrUnknown, attach.ErrLeaving, attach.ErrSuperseded, attach.ErrNoNode} {
		w := newControllerWorld(t)
		volume := w.create(t)
		w.nodes.refusal = refusal
		if _, err := w.publish(t, volume, nodeA); !errors.Is(err, refusal) {
			t.Errorf("got %v, want %v", err, refusal)
		}
		if w.reachable() != "" {
			t.Error("something was exported")
		}
	}
}

// An attachment that counts as attached, to a node that the record doesn't name, belongs to an earlier life of the node.
func TestAnAttachedAttachmentWithoutHoldingIsNotPublished(t *testing.T) {
	w := newControllerWorld(t)
	volume := w.create(t)
	w.nodes.admission = Admission{Attached: true}
	if _, err := w.publish(t, volume, nodeA); codeOf(err) != codes.Unavailable {
		t.Errorf("got %v, want UNAVAILABLE", err)
	}
}

func TestAnotherModeOnTheSameNode(t *testing.T) {
	w := newControllerWorld(t)
	volume := w.create(t)
	w.mustPublish(t, volume, nodeA)
	_, err := w.ControllerPublishVolume(t.Context(), &csi.ControllerPublishVolumeRequest{
		VolumeId: volume, NodeId: nodeA, VolumeCapability: mountCapability(csi.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER),
	})
	if codeOf(err) != codes.AlreadyExists {
		t.Errorf("got %v, want ALREADY_EXISTS", err)
	}
}

func TestPublishRepairsAnExportThatDisagrees(t *testing.T) {
	for name, damage := range map[string]string{
		"export off": `/disk set [find where comment~"rds-csi"] nvme-tcp-export=no`,
		"wrong NQN":  `/disk set [find where comment~"rds-csi"] nvme-tcp-server-nqn="nqn.2026-11.example:other"`,
	} {
		t.Run(name, func(t *testing.T) {
			w := newControllerWorld(t)
			volume := w.create(t)
			first := w.mustPublish(t, volume, nodeA)
			if out, err := w.sim.Exec(t.Context(), damage); err != nil || out != "" {
				t.Fatalf("%s, %v", out, err)
			}
			if again := w.mustPublish(t, volume, nodeA); again != first || w.reachable() != first.target.SubsystemNQN {
				t.Errorf("got %+v, exported %q, want %+v", again, w.reachable(), first)
			}
		})
	}
}

func TestUnpublish(t *testing.T) {
	tests := map[string]struct {
		holder, leaver string
		replaced       bool
		failed         error
		want           codes.Code
		released       bool
	}{
		"the holder":                             {nodeA, nodeA, false, nil, codes.OK, true},
		"every node":                             {nodeA, "", false, nil, codes.OK, true},
		"another node":                           {nodeA, nodeB, false, nil, codes.OK, false},
		"a node of another driver":               {nodeA, "whatever", false, nil, codes.OK, false},
		"the successor of a machine that's gone": {nodeA, "node-a/machine-new", true, nil, codes.OK, true},
		"an earlier machine of the holder's name, the holder lives": {nodeA, "node-a/machine-old", false, nil, codes.OK, false},
		"another machine of the name, nothing known":                {nodeA, "node-a/machine-new", false, attach.ErrUnknown, codes.Unavailable, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := newControllerWorld(t)
			volume := w.create(t)
			before := w.mustPublish(t, volume, test.holder)
			w.nodes.replaced[test.holder], w.nodes.failed = test.replaced, test.failed
			err := w.unpublish(t, volume, test.leaver)
			if got := codeOf(err); (test.want == codes.OK) != (err == nil) || err != nil && got != test.want {
				t.Fatalf("got %v, want %s", err, test.want)
			}
			want := before.target.SubsystemNQN
			if test.released {
				want = ""
			}
			if got := w.reachable(); got != want {
				t.Errorf("exported: got %q, want %q", got, want)
			}
		})
	}
}

// A publish that is still on its way when its caller has given up and unpublished must miss.
func TestALatePublishMisses(t *testing.T) {
	w := newControllerWorld(t)
	volume := w.create(t)
	id, err := rds.ParseVolumeID(volume)
	if err != nil {
		t.Fatal(err)
	}
	seen, err := w.client.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.unpublish(t, volume, nodeA); err != nil {
		t.Fatal(err)
	}
	changed := (*rds.ChangedError)(nil)
	if _, err := w.client.Publish(t.Context(), seen, seen.Record.Publish(nodeA, accessMount, "single-node-writer", false)); !errors.As(err, &changed) {
		t.Errorf("the late publish: got %v, want it to miss", err)
	}
	if w.reachable() != "" {
		t.Error("the late publish exported the disk")
	}
}

func TestWhatIsGoneIsUnpublishedAndDeleted(t *testing.T) {
	w := newControllerWorld(t)
	for _, volume := range []string{handle1, "not-ours", "raid10/rds-csi/other"} {
		if err := w.unpublish(t, volume, nodeA); err != nil {
			t.Errorf("unpublish %s: %v", volume, err)
		}
		if _, err := w.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: volume}); err != nil {
			t.Errorf("delete %s: %v", volume, err)
		}
		if _, err := w.publish(t, volume, nodeA); codeOf(err) != codes.NotFound {
			t.Errorf("publish %s: got %v, want NOT_FOUND", volume, err)
		}
	}
}

func TestDeleteOfAHeldVolume(t *testing.T) {
	for standing, want := range map[attach.Standing]codes.Code{
		attach.StandingAttached: codes.FailedPrecondition, attach.StandingDetached: codes.FailedPrecondition,
		attach.StandingUnknown: codes.Unavailable, attach.StandingGone: codes.OK,
	} {
		t.Run(standing.String(), func(t *testing.T) {
			w := newControllerWorld(t)
			volume := w.create(t)
			w.mustPublish(t, volume, nodeA)
			w.standing(nodeA, standing, time.Time{})
			_, err := w.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: volume})
			if (err == nil) != (want == codes.OK) || err != nil && codeOf(err) != want {
				t.Errorf("got %v, want %s", err, want)
			}
			if gone := len(w.sim.Disks()) == 0; gone != (want == codes.OK) {
				t.Errorf("disk gone: %t", gone)
			}
		})
	}
}

func TestCreateVolumeRefuses(t *testing.T) {
	block := &csi.VolumeCapability{AccessType: &csi.VolumeCapability_Block{Block: &csi.VolumeCapability_BlockVolume{}}, AccessMode: singleWriter().GetAccessMode()}
	tests := map[string]struct {
		change func(*csi.CreateVolumeRequest)
		want   codes.Code
		says   string
	}{
		"no name":             {func(r *csi.CreateVolumeRequest) { r.Name = "" }, codes.InvalidArgument, "name"},
		"too long a name":     {func(r *csi.CreateVolumeRequest) { r.Name = strings.Repeat("x", 129) }, codes.InvalidArgument, "name"},
		"a name with a quote": {func(r *csi.CreateVolumeRequest) { r.Name = `x" ]; /disk remove [find]` }, codes.InvalidArgument, "volume"},
		"no capability":       {func(r *csi.CreateVolumeRequest) { r.VolumeCapabilities = nil }, codes.InvalidArgument, "volume_capabilities"},
		"raw block":           {func(r *csi.CreateVolumeRequest) { r.VolumeCapabilities[0] = block }, codes.InvalidArgument, "access_type"},
		"multi-node": {func(r *csi.CreateVolumeRequest) {
			r.VolumeCapabilities[0] = mountCapability(csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER)
		}, codes.InvalidArgument, "access_mode"},
		"multi-node readers": {func(r *csi.CreateVolumeRequest) {
			r.VolumeCapabilities[0] = mountCapability(csi.VolumeCapability_AccessMode_MULTI_NODE_READER_ONLY)
		}, codes.InvalidArgument, "access_mode"},
		"unknown filesystem":  {func(r *csi.CreateVolumeRequest) { r.GetVolumeCapabilities()[0].GetMount().FsType = "ntfs" }, codes.InvalidArgument, "fs_type"},
		"no pool":             {func(r *csi.CreateVolumeRequest) { r.Parameters = nil }, codes.InvalidArgument, "pool"},
		"a pool that isn't":   {func(r *csi.CreateVolumeRequest) { r.Parameters["pool"] = "raid5" }, codes.InvalidArgument, "raid5"},
		"a pool with a slash": {func(r *csi.CreateVolumeRequest) { r.Parameters["pool"] = "raid10/x" }, codes.InvalidArgument, "pool"},
		"misspelt parameter":  {func(r *csi.CreateVolumeRequest) { r.Parameters["Pool"] = "raid10" }, codes.InvalidArgument, "Pool"},
		"clone":               {func(r *csi.CreateVolumeRequest) { r.VolumeContentSource = &csi.VolumeContentSource{} }, codes.InvalidArgument, "volume_content_source"},
		"negative size":       {func(r *csi.CreateVolumeRequest) { r.CapacityRange.RequiredBytes = -1 }, codes.InvalidArgument, "capacity_range"},
		"limit below need":    {func(r *csi.CreateVolumeRequest) { r.CapacityRange.LimitBytes = 1 }, codes.InvalidArgument, "capacity_range"},
		"limit below minimum": {func(r *csi.CreateVolumeRequest) { r.CapacityRange = &csi.CapacityRange{LimitBytes: mebibyte} }, codes.OutOfRange, "at most"},
		"limit within a step": {func(r *csi.CreateVolumeRequest) {
			r.CapacityRange = &csi.CapacityRange{RequiredBytes: 64*mebibyte + 1, LimitBytes: 64*mebibyte + 2}
		}, codes.OutOfRange, "multiples"},
		"too big for the driver": {func(r *csi.CreateVolumeRequest) { r.CapacityRange.RequiredBytes = 1 << 62 }, codes.OutOfRange, "bytes"},
		"too big for the pool":   {func(r *csi.CreateVolumeRequest) { r.CapacityRange.RequiredBytes = 11 << 30 }, codes.ResourceExhausted, "raid10"},
	}
	w := newControllerWorld(t)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			request := createRequest("pvc-1")
			test.change(request)
			_, err := w.CreateVolume(t.Context(), request)
			if err == nil || codeOf(err) != test.want || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v (%s), want %s that says %q", err, codeOf(err), test.want, test.says)
			}
		})
	}
	if disks := w.sim.Disks(); len(disks) != 0 {
		t.Errorf("left half-made: %+v", disks)
	}
	if out, _ := w.sim.Exec(t.Context(), `:put [:len [/file find where name~".img"]]`); strings.TrimSpace(out) != "0" {
		t.Errorf("files left: %s", out)
	}
}

func TestSizes(t *testing.T) {
	for name, test := range map[string]struct {
		capacity *csi.CapacityRange
		want     int64
	}{
		"none asked":       {nil, defaultSize},
		"only a limit":     {&csi.CapacityRange{LimitBytes: 100*mebibyte + 5}, 100 * mebibyte},
		"exact":            {&csi.CapacityRange{RequiredBytes: 1536 * mebibyte}, 1536 * mebibyte},
		"rounded up":       {&csi.CapacityRange{RequiredBytes: 64*mebibyte + 1}, 65 * mebibyte},
		"below the least":  {&csi.CapacityRange{RequiredBytes: 1}, minimumSize},
		"the most":         {&csi.CapacityRange{RequiredBytes: maximumSize}, maximumSize},
		"limit is the use": {&csi.CapacityRange{RequiredBytes: 20 * mebibyte, LimitBytes: 20 * mebibyte}, 20 * mebibyte},
	} {
		if got, err := sizeOf(test.capacity); err != nil || got != test.want {
			t.Errorf("%s: got %d, %v, want %d", name, got, err, test.want)
		}
	}
}

// The same name with another size is another volume: it must not be passed off for the first.
func TestCreateAgainWithAnotherSize(t *testing.T) {
	w := newControllerWorld(t)
	w.create(t)
	request := createRequest("pvc-1")
	request.CapacityRange.RequiredBytes *= 2
	if _, err := w.CreateVolume(t.Context(), request); codeOf(err) != codes.AlreadyExists {
		t.Errorf("got %v, want ALREADY_EXISTS", err)
	}
}

func TestBusyVolumes(t *testing.T) {
	w := newControllerWorld(t)
	volume := w.create(t)
	unlock, err := w.locks.lock(volume)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.publish(t, volume, nodeA); codeOf(err) != codes.Aborted {
		t.Errorf("got %v, want ABORTED", err)
	}
	unlock()
	w.mustPublish(t, volume, nodeA)
	if diff := cmp.Diff(0, len(w.locks.held)); diff != "" {
		t.Errorf("locks are left behind: %s", diff)
	}
}
