package faults

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/controller"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
	"git.srvlab.io/whiskey/rds-csi-driver/test/simtest"
)

const (
	mebibyte = int64(1) << 20
	nodeA    = "node-a/machine-a"
	nodeB    = "node-b/machine-b"
)

// leavingNodes finds every holder just detaching, so that a volume may always be handed off.
type leavingNodes struct{}

func (leavingNodes) Admit(context.Context, string, attach.NodeID) (attach.Admission, error) {
	return attach.Admission{}, nil
}

func (leavingNodes) HolderStates(_ context.Context, _ string, holders []attach.NodeID) []attach.Holder {
	var known []attach.Holder
	for _, id := range holders {
		known = append(known, attach.Holder{ID: id, State: attach.HolderDetaching, DetachingSince: time.Now()})
	}
	return known
}

func (leavingNodes) StoppedUsing(context.Context, string, attach.NodeID) bool { return true }

func (leavingNodes) Granted(string) attach.Grant { return attach.Grant{} }

func (leavingNodes) OthersGranted(string, attach.Record) []attach.NodeID { return nil }

func (leavingNodes) Grants(context.Context, string) ([]attach.Grant, error) { return nil, nil }

func (leavingNodes) Changed(context.Context, string) <-chan struct{} { return nil }

// world is a driver and an appliance with at most one volume.
type world struct {
	sim        *sim.Sim
	config     simtest.Config
	client     *rds.Client
	controller *controller.Service
	id         rds.VolumeID
}

func newWorld(t *testing.T, fault sim.NamedFault) *world {
	t.Helper()
	simulator, config := simtest.Start(t, func(o *sim.Options) { o.FlashDelay = 40 * time.Second })
	if fault.Fault.Kind == sim.ConnectionMute {
		config.SSH.ConnectTimeout = patience
	}
	id, err := rds.NewVolumeID(simtest.Pool, "rds-csi", simtest.ClusterID, "pvc-1")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{sim: simulator, config: config, id: id}
	w.restart(t)
	return w
}

// restart makes a driver that has seen nothing yet.
func (w *world) restart(t *testing.T) {
	t.Helper()
	client := simtest.Client(t, w.config)
	service, err := controller.New(controller.Config{
		ClusterID: simtest.ClusterID, Directory: "rds-csi", Address: "192.0.2.1", Port: 4420, GracePeriod: time.Hour,
	}, client, leavingNodes{}, controller.Observer{Decided: func(attach.Verdict) {}, HandedOff: func() {}, Note: func(attach.Note) {}, Restored: func(attach.RestoreReason) {}})
	if err != nil {
		t.Fatal(err)
	}
	w.client, w.controller = client, service
}

func (w *world) capability() *csi.VolumeCapability {
	return &csi.VolumeCapability{
		AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{}},
		AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
	}
}

// prepare makes the directory of backing files, as the first volume of a pool does.
func (w *world) prepare(ctx context.Context) error {
	_, err := w.sim.Exec(ctx, `/file add name="`+simtest.Pool+`/rds-csi" type=directory`)
	return err
}

func (w *world) create(ctx context.Context) error {
	_, err := w.controller.CreateVolume(ctx, &csi.CreateVolumeRequest{
		Name: "pvc-1", Parameters: map[string]string{"pool": simtest.Pool}, VolumeCapabilities: []*csi.VolumeCapability{w.capability()},
		CapacityRange: &csi.CapacityRange{RequiredBytes: 64 * mebibyte},
	})
	return err
}

func (w *world) publish(ctx context.Context, node string) error {
	_, err := w.controller.ControllerPublishVolume(ctx, &csi.ControllerPublishVolumeRequest{VolumeId: w.id.String(), NodeId: node, VolumeCapability: w.capability()})
	return err
}

func (w *world) unpublish(ctx context.Context, node string) error {
	_, err := w.controller.ControllerUnpublishVolume(ctx, &csi.ControllerUnpublishVolumeRequest{VolumeId: w.id.String(), NodeId: node})
	return err
}

func (w *world) remove(ctx context.Context) error {
	_, err := w.controller.DeleteVolume(ctx, &csi.DeleteVolumeRequest{VolumeId: w.id.String()})
	return err
}

func (w *world) expand(ctx context.Context) error {
	disk, err := w.client.Get(ctx, w.id)
	if err != nil {
		return err
	}
	_, err = w.client.Expand(ctx, disk, 128*mebibyte)
	return err
}

// recover brings a rebooted appliance up, and past its boot window.
func (w *world) recover() {
	for w.sim.Phase() != appliance.Up {
		w.sim.NextPhase()
	}
	w.sim.Advance(time.Hour)
}

// found is what an operator sees of the volume.
type found struct {
	disks  []appliance.DiskInfo
	file   bool
	record rds.Record
}

func (w *world) look(t *testing.T) found {
	t.Helper()
	var now found
	for _, disk := range w.sim.Disks() {
		if disk.Slot == w.id.Slot() {
			now.disks = append(now.disks, disk)
		}
	}
	out, err := w.sim.Exec(t.Context(), `:put [:len [/file find where name="`+w.id.String()+`.img"]]`)
	if err != nil {
		t.Fatal(err)
	}
	now.file = strings.TrimSpace(out) == "1"
	if len(now.disks) > 0 {
		now.record, _ = rds.ParseRecord(now.disks[0].Comment)
	}
	return now
}

// sane returns what is wrong with the appliance whatever was done to it last. The fault itself may have broken a rule:
// exempt says so.
func (w *world) sane(now found, exempt []string) error {
	var wrong []error
	rule := func(name string, holds bool) {
		if !holds && !slices.Contains(exempt, name) {
			wrong = append(wrong, errors.New(name))
		}
	}
	rule(oneDisk, len(now.disks) <= 1)
	for _, disk := range now.disks {
		record, err := rds.ParseRecord(disk.Comment)
		rule(recordKept, err == nil)
		rule(exportedToHolder, !disk.Exported || err == nil && record.Held() && disk.SubsystemNQN == record.SubsystemNQN(w.id))
	}
	rule(noOrphanFile, !now.file || len(now.disks) > 0)
	rule(noLostFile, now.file || len(now.disks) == 0)
	return errors.Join(wrong...)
}

// The rules that hold after every case.
const (
	oneDisk          = "there is more than one disk in the volume's slot"
	recordKept       = "the disk's record is lost"
	exportedToHolder = "the disk is exported though its record names no holder, or under another NQN"
	noOrphanFile     = "the backing file is there without a disk"
	noLostFile       = "the disk is there without its backing file"
)
