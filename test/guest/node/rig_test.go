package node

import (
	"crypto/sha256"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"k8s.io/mount-utils"
	utilexec "k8s.io/utils/exec"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/node"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/test/guest/world"
	"git.srvlab.io/whiskey/rds-csi-driver/test/mounts"
	"git.srvlab.io/whiskey/rds-csi-driver/test/simtest"
)

// size is the least that mkfs.xfs takes, and a bit, in bytes.
const size = 320 << 20

// rig is an appliance, a controller, and this kernel as node A.
type rig struct {
	*world.World
	csi.NodeServer

	initiator *nvme.Initiator
	// lost and reconnected count connections as the metrics do.
	lost, reconnected atomic.Int32
}

func (r *rig) CountConnectionLost() { r.lost.Add(1) }

func (r *rig) CountReconnect(err error) {
	if err == nil {
		r.reconnected.Add(1)
	}
}

// flushTimeout is short, and long enough for a target that is there.
const flushTimeout = 10 * time.Second

func newRig(t *testing.T, options world.Options) *rig {
	t.Helper()
	r := &rig{World: world.New(t, options), initiator: nvme.New(nvme.Config{Host: nvme.HostOf("machine-a")})}
	service, err := newService(r.initiator, r)
	if err != nil {
		t.Fatal(err)
	}
	r.NodeServer = service
	return r
}

func newService(initiator *nvme.Initiator, observer node.Observer) (*node.Service, error) {
	config := node.Config{NodeName: "node-a", MachineIdentity: "machine-a", MaxVolumes: 128, FlushTimeout: flushTimeout}
	return node.New(config, initiator, mount.NewWithoutSystemd(""), utilexec.New(), observer)
}

// volume is one on its way from the appliance to a pod.
type volume struct {
	r          *rig
	id         string
	capability *csi.VolumeCapability
	readOnly   bool              // what the next attach asks for
	context    map[string]string // of the publish
	options    map[string]string
	folder     string
	bytes      int64 // what enlarge asked for
}

func (v *volume) staging() string { return filepath.Join(v.folder, "globalmount") }
func (v *volume) target() string  { return filepath.Join(v.folder, "pod") }

// capabilityOf is a filesystem of that kind, or "block", for one node.
func capabilityOf(kind string) *csi.VolumeCapability {
	capability := &csi.VolumeCapability{
		AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{FsType: kind}},
		AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
	}
	if kind == "block" {
		capability.AccessType = &csi.VolumeCapability_Block{Block: &csi.VolumeCapability_BlockVolume{}}
	}
	return capability
}

// create makes a volume; the options are its StorageClass's.
func (r *rig) create(t *testing.T, name, kind string, options map[string]string) *volume {
	t.Helper()
	v := &volume{r: r, capability: capabilityOf(kind), folder: filepath.Join(t.TempDir(), name)}
	if err := os.MkdirAll(v.staging(), 0o750); err != nil {
		t.Fatal(err)
	}
	mounts.ShareFor(t, v.folder)
	parameters := map[string]string{"pool": simtest.Pool}
	maps.Copy(parameters, options)
	response, err := r.CreateVolume(t.Context(), &csi.CreateVolumeRequest{
		Name: name, Parameters: parameters, CapacityRange: &csi.CapacityRange{RequiredBytes: size}, VolumeCapabilities: []*csi.VolumeCapability{v.capability},
	})
	if err != nil {
		t.Fatal(err)
	}
	v.id, v.options = response.GetVolume().GetVolumeId(), response.GetVolume().GetVolumeContext()
	t.Cleanup(func() {
		for _, path := range []string{v.target(), v.staging()} {
			_ = mount.NewWithoutSystemd("").Unmount(path)
		}
		world.DisconnectAll(v.nqn())
	})
	return v
}

func (v *volume) nqn() string { return v.context[attach.KeySubsystemNQN] }

// attach makes this node, or another, the holder, and tries until the appliance does it.
func (v *volume) attach(t *testing.T, node string) {
	t.Helper()
	world.Eventually(t, "published to "+node, func() bool {
		response, err := v.r.ControllerPublishVolume(t.Context(), &csi.ControllerPublishVolumeRequest{VolumeId: v.id, NodeId: node, VolumeCapability: v.capability, Readonly: v.readOnly, VolumeContext: v.options})
		v.context = response.GetPublishContext()
		return err == nil
	})
}

func (v *volume) detach(t *testing.T, node string) {
	t.Helper()
	if _, err := v.r.ControllerUnpublishVolume(t.Context(), &csi.ControllerUnpublishVolumeRequest{VolumeId: v.id, NodeId: node}); err != nil {
		t.Fatal(err)
	}
}

func (v *volume) stage(t *testing.T) error {
	t.Helper()
	_, err := v.r.NodeStageVolume(t.Context(), &csi.NodeStageVolumeRequest{
		VolumeId: v.id, PublishContext: v.context, StagingTargetPath: v.staging(), VolumeCapability: v.capability, VolumeContext: v.options,
	})
	return err
}

func (v *volume) publish(t *testing.T) error {
	t.Helper()
	_, err := v.r.NodePublishVolume(t.Context(), &csi.NodePublishVolumeRequest{
		VolumeId: v.id, PublishContext: v.context, StagingTargetPath: v.staging(), TargetPath: v.target(), VolumeCapability: v.capability, VolumeContext: v.options,
	})
	return err
}

func (v *volume) unpublish(t *testing.T) error {
	t.Helper()
	_, err := v.r.NodeUnpublishVolume(t.Context(), &csi.NodeUnpublishVolumeRequest{VolumeId: v.id, TargetPath: v.target()})
	return err
}

func (v *volume) unstage(t *testing.T) error {
	t.Helper()
	_, err := v.r.NodeUnstageVolume(t.Context(), &csi.NodeUnstageVolumeRequest{VolumeId: v.id, StagingTargetPath: v.staging()})
	return err
}

// twice does something that must be idempotent.
func twice(t *testing.T, what string, do func(*testing.T) error) {
	t.Helper()
	for range 2 {
		if err := do(t); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// bring takes the volume to its pod, and home brings it back to the appliance.
func (v *volume) bring(t *testing.T) {
	t.Helper()
	v.attach(t, world.NodeA)
	twice(t, "stage", v.stage)
	twice(t, "publish", v.publish)
}

func (v *volume) home(t *testing.T) {
	t.Helper()
	twice(t, "unpublish", v.unpublish)
	twice(t, "unstage", v.unstage)
	connections, err := v.r.initiator.Connections(t.Context(), v.nqn())
	if err != nil || len(connections) != 0 {
		t.Errorf("after unstage: %v, %v, want no connection", connections, err)
	}
	v.detach(t, world.NodeA)
}

// file is where the pod's data is: a file of the filesystem, or the block device.
func (v *volume) file() string {
	if v.capability.GetBlock() != nil {
		return v.target()
	}
	return filepath.Join(v.target(), "data")
}

// write writes random bytes that only this seed gives, and syncs them.
func (v *volume) write(seed byte) error {
	file, err := os.OpenFile(v.file(), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	if _, err := file.Write(content(seed)); err != nil {
		return err
	}
	return file.Sync()
}

func content(seed byte) []byte {
	data := make([]byte, 1<<20)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(data)
	return data
}

// holds tells whether the pod reads what write wrote.
func (v *volume) holds(t *testing.T, seed byte) bool {
	t.Helper()
	file, err := os.Open(v.file())
	if err != nil {
		t.Logf("read: %v", err)
		return false
	}
	defer func() { _ = file.Close() }()
	want := content(seed)
	got := make([]byte, len(want))
	if _, err := file.Read(got); err != nil {
		t.Logf("read: %v", err)
		return false
	}
	return sha256.Sum256(got) == sha256.Sum256(want)
}

func (v *volume) health(t *testing.T) (*csi.NodeGetVolumeHealthResponse, error) {
	t.Helper()
	return v.r.NodeGetVolumeHealth(t.Context(), &csi.NodeGetVolumeHealthRequest{VolumeId: v.id, VolumePublishPath: v.target(), StagingTargetPath: v.staging()})
}

// unwell are the reasons why the node service finds the volume unwell.
func (v *volume) unwell(t *testing.T) []string {
	t.Helper()
	response, err := v.health(t)
	if err != nil {
		t.Fatal(err)
	}
	var reasons []string
	for _, status := range response.GetVolumeHealth().GetHealthStatuses() {
		reasons = append(reasons, status.GetReason())
	}
	return reasons
}
