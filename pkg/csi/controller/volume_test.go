package controller

import (
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
	"git.srvlab.io/whiskey/rds-csi-driver/test/requests"
)

func TestWhatIsGoneIsUnpublishedAndDeleted(t *testing.T) {
	w := newControllerWorld(t)
	for _, volume := range []string{handle1, "not-ours", "raid10/rds-csi/other"} {
		if err := w.unpublish(t, volume, nodeA); err != nil {
			t.Errorf("unpublish %s: %v", volume, err)
		}
		if _, err := w.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: volume}); err != nil {
			t.Errorf("delete %s: %v", volume, err)
		}
		if _, err := w.publish(t, volume, nodeA); failure.Code(err) != codes.NotFound {
			t.Errorf("publish %s: got %v, want NOT_FOUND", volume, err)
		}
	}
}

func TestDeleteOfAHeldVolume(t *testing.T) {
	for standing, want := range map[attach.HolderState]codes.Code{
		attach.HolderAttached: codes.FailedPrecondition, attach.HolderDetached: codes.FailedPrecondition,
		attach.HolderDetaching: codes.FailedPrecondition, attach.HolderInUse: codes.FailedPrecondition,
		attach.HolderGonePaused: codes.FailedPrecondition,
		attach.HolderUnknown:    codes.Unavailable, attach.HolderGone: codes.OK,
	} {
		t.Run(standing.String(), func(t *testing.T) {
			w := newControllerWorld(t)
			volume := w.create(t)
			w.mustPublish(t, volume, nodeA)
			w.setHolder(nodeA, standing, time.Time{})
			_, err := w.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: volume})
			if (err == nil) != (want == codes.OK) || err != nil && failure.Code(err) != want {
				t.Errorf("got %v, want %s", err, want)
			}
			if gone := len(w.sim.Disks()) == 0; gone != (want == codes.OK) {
				t.Errorf("disk gone: %t", gone)
			}
		})
	}
}

func TestCreateVolumeRefuses(t *testing.T) {
	block := sharedBlock()
	block.AccessMode.Mode = csi.VolumeCapability_AccessMode_MULTI_NODE_READER_ONLY
	tests := map[string]struct {
		change func(*csi.CreateVolumeRequest)
		want   codes.Code
		says   string
	}{
		"no name":               {func(r *csi.CreateVolumeRequest) { r.Name = "" }, codes.InvalidArgument, "name"},
		"too long a name":       {func(r *csi.CreateVolumeRequest) { r.Name = strings.Repeat("x", 129) }, codes.InvalidArgument, "name"},
		"a name with a quote":   {func(r *csi.CreateVolumeRequest) { r.Name = `x" ]; /disk remove [find]` }, codes.InvalidArgument, "name: "},
		"no capability":         {func(r *csi.CreateVolumeRequest) { r.VolumeCapabilities = nil }, codes.InvalidArgument, "volume_capabilities"},
		"raw block for readers": {func(r *csi.CreateVolumeRequest) { r.VolumeCapabilities[0] = block }, codes.InvalidArgument, "access_mode"},
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
			if err == nil || failure.Code(err) != test.want || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v (%s), want %s that says %q", err, failure.Code(err), test.want, test.says)
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
		if got, err := sizeOf(test.capacity, minimumSize); err != nil || got != test.want {
			t.Errorf("%s: got %d, %v, want %d", name, got, err, test.want)
		}
	}
}

// mkfs.xfs refuses less on the node, where nobody can change the size any more.
func TestXFSGetsWhatItNeeds(t *testing.T) {
	w := newControllerWorld(t)
	request := createRequest("pvc-1")
	request.VolumeCapabilities[0] = requests.Writer("xfs")
	request.CapacityRange = &csi.CapacityRange{RequiredBytes: 20 * mebibyte}
	response, err := w.CreateVolume(t.Context(), request)
	if err != nil || response.GetVolume().GetCapacityBytes() != minimumXFS {
		t.Errorf("got %v, %v, want %d bytes", response, err, minimumXFS)
	}
	request.Name, request.CapacityRange.LimitBytes = "pvc-2", 30*mebibyte
	if _, err := w.CreateVolume(t.Context(), request); failure.Code(err) != codes.OutOfRange {
		t.Errorf("got %v, want OUT_OF_RANGE", err)
	}
}

// external-provisioner adds them with --extra-create-metadata, for whoever reads the appliance. They never stand in a
// volume's way.
func TestNamesOfClaimAndVolumeInTheComment(t *testing.T) {
	for name, test := range map[string]struct{ pv, pvc, namespace, wantPV, wantPVC string }{
		"all fit":           {"pvc-1", "data-db-0", "shop", "pvc-1", "shop/data-db-0"},
		"too long together": {strings.Repeat("v", 253), strings.Repeat("c", 253), "shop", "", ""},
		"of other letters":  {"pvc-1", "dätä", "shop", "pvc-1", ""},
		"with a command":    {`pvc-1"; /disk remove [find]`, "data-db-0", "shop", "", "shop/data-db-0"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newControllerWorld(t)
			request := createRequest("pvc-1")
			request.Parameters[reservedPrefix+"pv/name"] = test.pv
			request.Parameters[reservedPrefix+"pvc/name"] = test.pvc
			request.Parameters[reservedPrefix+"pvc/namespace"] = test.namespace
			response, err := w.CreateVolume(t.Context(), request)
			if err != nil {
				t.Fatal(err)
			}
			if record := w.record(t, response.GetVolume().GetVolumeId()); record.PV != test.wantPV || record.PVC != test.wantPVC {
				t.Errorf("the record names %q and %q, want %q and %q", record.PV, record.PVC, test.wantPV, test.wantPVC)
			}
		})
	}
}

// "Not confirmed" is an answer: the message says why, and nothing is confirmed.
func TestWhatIsNotConfirmed(t *testing.T) {
	w := newControllerWorld(t)
	volume := w.create(t)
	good := func() *csi.ValidateVolumeCapabilitiesRequest {
		return &csi.ValidateVolumeCapabilitiesRequest{
			VolumeId: volume, VolumeCapabilities: []*csi.VolumeCapability{singleWriter()},
			Parameters: map[string]string{"pool": "raid10"}, VolumeContext: map[string]string{"nr_io_queues": "4", "storage.kubernetes.io/csiProvisionerIdentity": "x"},
		}
	}
	for says, spoil := range map[string]func(*csi.ValidateVolumeCapabilitiesRequest){
		"access_mode": func(r *csi.ValidateVolumeCapabilitiesRequest) {
			r.VolumeCapabilities[0] = mountCapability(csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER)
		},
		"volume_mount_group": func(r *csi.ValidateVolumeCapabilitiesRequest) {
			r.GetVolumeCapabilities()[0].GetMount().VolumeMountGroup = "1000"
		},
		"314572800":          func(r *csi.ValidateVolumeCapabilitiesRequest) { r.VolumeCapabilities[0] = requests.Writer("xfs") },
		"Pool":               func(r *csi.ValidateVolumeCapabilitiesRequest) { r.Parameters["Pool"] = "raid10" },
		"raid5":              func(r *csi.ValidateVolumeCapabilitiesRequest) { r.Parameters["pool"] = "raid5" },
		"queue_size":         func(r *csi.ValidateVolumeCapabilitiesRequest) { r.Parameters["queue_size"] = "1" },
		parameterFilesystem:  func(r *csi.ValidateVolumeCapabilitiesRequest) { r.Parameters[parameterFilesystem] = "xfs" },
		"nr_io_queues":       func(r *csi.ValidateVolumeCapabilitiesRequest) { r.VolumeContext["nr_io_queues"] = "many" },
		"mutable_parameters": func(r *csi.ValidateVolumeCapabilitiesRequest) { r.MutableParameters = map[string]string{"iops": "1"} },
	} {
		request := good()
		spoil(request)
		response, err := w.ValidateVolumeCapabilities(t.Context(), request)
		if err != nil || response.GetConfirmed() != nil || !strings.Contains(response.GetMessage(), says) {
			t.Errorf("%s: got %v, %v, want nothing confirmed and a message", says, response, err)
		}
	}
	response, err := w.ValidateVolumeCapabilities(t.Context(), good())
	if err != nil || response.GetConfirmed() == nil || response.GetMessage() != "" {
		t.Errorf("what is true: got %v, %v, want it confirmed", response, err)
	}
}

// The same name with another size is another volume: it must not be passed off for the first.
func TestCreateAgainWithAnotherSize(t *testing.T) {
	w := newControllerWorld(t)
	w.create(t)
	request := createRequest("pvc-1")
	request.CapacityRange.RequiredBytes *= 2
	if _, err := w.CreateVolume(t.Context(), request); failure.Code(err) != codes.AlreadyExists {
		t.Errorf("got %v, want ALREADY_EXISTS", err)
	}
}

// A handle that somebody wrote by hand, or of a directory that was renamed: the error says where the disk is, and what
// to do.
func TestAVolumeInAnotherPlace(t *testing.T) {
	w := newControllerWorld(t)
	volume := w.create(t)
	before := w.sim.Disks()
	elsewhere := strings.Replace(volume, "rds-csi", "other", 1)
	for rpc, c := range w.calls(elsewhere) {
		request, of := c.Good.(interface{ GetVolumeId() string })
		if !of || request.GetVolumeId() == "" {
			continue
		}
		err := c.Do(t.Context(), c.Good)
		if rpc == "unpublish" {
			// Nobody has the volume, so there is nothing to revoke.
			if err != nil || !w.noted(attach.ForeignVolumeDetached) {
				t.Errorf("unpublish: got %v, want success and an event", err)
			}
			continue
		}
		if err == nil || failure.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), elsewhere) || !strings.Contains(err.Error(), volume+";") {
			t.Errorf("%s: got %v, want FAILED_PRECONDITION that names both places", rpc, err)
		}
	}
	if diff := cmp.Diff(before, w.sim.Disks()); diff != "" {
		t.Errorf("the disk was changed (-before +after):\n%s", diff)
	}
}

func TestBusyVolumes(t *testing.T) {
	w := newControllerWorld(t)
	volume := w.create(t)
	unlock, err := w.locks.Lock(parsed(t, volume))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.publish(t, volume, nodeA); failure.Code(err) != codes.Aborted {
		t.Errorf("got %v, want ABORTED", err)
	}
	unlock()
	w.mustPublish(t, volume, nodeA)
}
