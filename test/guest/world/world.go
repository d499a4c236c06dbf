package world

import (
	"context"
	"net/netip"
	"os"
	"testing"
	"time"

	drivercsi "github.com/container-storage-interface/spec/lib/go/csi"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/controller"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/kernel"
	"git.srvlab.io/whiskey/rds-csi-driver/test/simtest"
)

// NodeA and NodeB are IDs of two nodes, each on a machine of its own.
const (
	NodeA = "node-a/machine-a"
	NodeB = "node-b/machine-b"
)

// Target is where the kernel's target is reached from this machine. It listens on every address, for the other guest of a
// pair; a guest has no other network.
const (
	Target   = "127.0.0.1:4420"
	listened = "0.0.0.0:4420"
)

// InGuest tells whether this is a guest.
func InGuest() bool { return os.Getenv("RDS_CSI_GUEST") != "" }

// Guest skips the test unless it runs in a guest: it needs root and a kernel to do with as it likes.
func Guest(tb testing.TB) {
	tb.Helper()
	if !InGuest() {
		tb.Skip("runs only inside a guest: make guest")
	}
}

// World is an appliance whose exports real initiators reach, and a controller.
type World struct {
	*controller.Service
	Sim  *sim.Sim
	gone map[string]bool
}

// Options of a World.
type Options struct {
	// Sim changes the simulator before it starts.
	Sim func(*sim.Options)
	// Client, when set, changes the configuration of the appliance's client.
	Client func(*rds.Config)
	// Appliance, when set, stands between the controller and the appliance.
	Appliance func(controller.Appliance, *sim.Sim) controller.Appliance
}

// New starts a world that ends with the test, which it skips outside of a guest.
func New(tb testing.TB, options Options) *World {
	tb.Helper()
	Guest(tb)
	target := Export(tb)
	simulator, config := simtest.Start(tb, func(o *sim.Options) {
		o.Exports.Kernel = target
		if options.Sim != nil {
			options.Sim(o)
		}
	})
	if options.Client != nil {
		options.Client(&config.Config)
	}
	var appliance controller.Appliance = simtest.Client(tb, config)
	if options.Appliance != nil {
		appliance = options.Appliance(appliance, simulator)
	}
	w := &World{Sim: simulator, gone: map[string]bool{}}
	address := netip.MustParseAddrPort(Target)
	service, err := controller.New(controller.Config{
		ClusterID: simtest.ClusterID, Directory: "rds-csi", Address: address.Addr().String(), Port: address.Port(), GracePeriod: 30 * time.Second, ExpandPublished: true,
	}, appliance, nodes{w: w}, controller.Observer{Decided: func(attach.Verdict) {}, HandedOff: func() {}, Note: func(attach.Note) {}, Restored: func(attach.RestoreReason) {}})
	if err != nil {
		tb.Fatal(err)
	}
	w.Service = service
	return w
}

// Export opens the kernel's target until the test ends.
func Export(tb testing.TB) *kernel.Target {
	tb.Helper()
	Guest(tb)
	target, err := kernel.Open(netip.MustParseAddrPort(listened), func(err error) { tb.Errorf("the kernel's target: %v", err) })
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := target.Close(); err != nil {
			tb.Errorf("close the kernel's target: %v", err)
		}
	})
	return target
}

// Lose has the node count as proven gone from now on. No request may be under way.
func (w *World) Lose(node string) { w.gone[node] = true }

// nodes is what the controller knows of nodes: what the test says.
type nodes struct {
	attach.RecordNodes

	w *World
}

// HolderStates returns every holder as attached, but those that are gone.
func (n nodes) HolderStates(ctx context.Context, volumeID string, holders []attach.NodeID) []attach.Holder {
	states := n.RecordNodes.HolderStates(ctx, volumeID, holders)
	for i, holder := range states {
		if n.w.gone[holder.ID.String()] {
			states[i].State = attach.HolderGone
		}
	}
	return states
}

// Volume is a volume of the world.
type Volume struct {
	ID string
	// File is the backing file.
	File string
	w    *World
}

// Create makes a volume of that many bytes.
func (w *World) Create(tb testing.TB, name string, size int64) *Volume {
	tb.Helper()
	response, err := w.CreateVolume(tb.Context(), &drivercsi.CreateVolumeRequest{
		Name: name, Parameters: map[string]string{"pool": simtest.Pool},
		CapacityRange:      &drivercsi.CapacityRange{RequiredBytes: size, LimitBytes: size},
		VolumeCapabilities: []*drivercsi.VolumeCapability{capability()},
	})
	if err != nil {
		tb.Fatalf("create volume %s: %v", name, err)
	}
	v := &Volume{ID: response.GetVolume().GetVolumeId(), w: w}
	id, err := rds.ParseVolumeID(v.ID)
	if err != nil {
		tb.Fatal(err)
	}
	for _, disk := range w.Sim.Disks() {
		if disk.Slot == id.Slot() {
			v.File = disk.File
		}
	}
	return v
}

// Publish makes the node the volume's holder and returns the subsystem NQN that it was given. It tries again as
// external-attacher does: the appliance may just have rebooted.
func (v *Volume) Publish(tb testing.TB, node string) string {
	tb.Helper()
	var nqn string
	var err error
	defer func() {
		if nqn == "" {
			tb.Logf("publish volume %s to %s: %v", v.ID, node, err)
		}
	}()
	Eventually(tb, "the volume is published", func() bool {
		var response *drivercsi.ControllerPublishVolumeResponse
		response, err = v.w.ControllerPublishVolume(tb.Context(), &drivercsi.ControllerPublishVolumeRequest{
			VolumeId: v.ID, NodeId: node, VolumeCapability: capability(),
		})
		nqn = response.GetPublishContext()[attach.KeySubsystemNQN]
		return err == nil
	})
	return nqn
}

// Unpublish takes the volume from the node. It tries again as external-attacher does: somebody may have changed the disk.
func (v *Volume) Unpublish(tb testing.TB, node string) {
	tb.Helper()
	request := &drivercsi.ControllerUnpublishVolumeRequest{VolumeId: v.ID, NodeId: node}
	Eventually(tb, "the volume is unpublished", func() bool {
		_, err := v.w.ControllerUnpublishVolume(tb.Context(), request)
		if err != nil {
			tb.Logf("unpublish volume %s from %s: %v", v.ID, node, err)
		}
		return err == nil
	})
}

// Delete removes a volume that nobody holds.
func (v *Volume) Delete(tb testing.TB) {
	tb.Helper()
	if _, err := v.w.DeleteVolume(tb.Context(), &drivercsi.DeleteVolumeRequest{VolumeId: v.ID}); err != nil {
		tb.Fatalf("delete volume %s: %v", v.ID, err)
	}
}

// capability is a raw block device for one node.
func capability() *drivercsi.VolumeCapability {
	return &drivercsi.VolumeCapability{
		AccessType: &drivercsi.VolumeCapability_Block{Block: &drivercsi.VolumeCapability_BlockVolume{}},
		AccessMode: &drivercsi.VolumeCapability_AccessMode{Mode: drivercsi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
	}
}
