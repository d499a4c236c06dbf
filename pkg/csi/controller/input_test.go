package controller

import (
	"maps"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/test/requests"
)

func (w *controllerWorld) calls(volume string) map[string]requests.Call {
	capacity := &csi.CapacityRange{RequiredBytes: 32 * mebibyte}
	return map[string]requests.Call{
		"create":    requests.CallOf(createRequest("pvc-1"), w.CreateVolume),
		"delete":    requests.CallOf(&csi.DeleteVolumeRequest{VolumeId: volume}, w.DeleteVolume),
		"publish":   requests.CallOf(&csi.ControllerPublishVolumeRequest{VolumeId: volume, NodeId: nodeA, VolumeCapability: singleWriter()}, w.ControllerPublishVolume),
		"unpublish": requests.CallOf(&csi.ControllerUnpublishVolumeRequest{VolumeId: volume, NodeId: nodeA}, w.ControllerUnpublishVolume),
		"validate":  requests.CallOf(&csi.ValidateVolumeCapabilitiesRequest{VolumeId: volume, VolumeCapabilities: []*csi.VolumeCapability{singleWriter()}}, w.ValidateVolumeCapabilities),
		"expand":    requests.CallOf(&csi.ControllerExpandVolumeRequest{VolumeId: volume, CapacityRange: capacity, VolumeCapability: singleWriter()}, w.ControllerExpandVolume),
		"get":       requests.CallOf(&csi.ControllerGetVolumeRequest{VolumeId: volume}, w.ControllerGetVolume),
		"health":    requests.CallOf(&csi.ControllerGetVolumeHealthRequest{VolumeId: volume}, w.ControllerGetVolumeHealth),
		"list":      requests.CallOf(&csi.ListVolumesRequest{}, w.ListVolumes),
		"unwell":    requests.CallOf(&csi.ControllerListVolumeHealthRequest{}, w.ControllerListVolumeHealth),
		"room":      requests.CallOf(&csi.GetCapacityRequest{Parameters: map[string]string{"pool": "raid10"}}, w.GetCapacity),
	}
}

// spoiler makes a good request bad in one field.
type spoiler struct {
	spoil func(proto.Message)
	want  codes.Code
	names string // what the error has to name
}

// badCapabilities are those that no volume has, with what the error names.
func badCapabilities() map[string]*csi.VolumeCapability {
	bad := map[string]*csi.VolumeCapability{
		"access_type":            {AccessMode: singleWriter().GetAccessMode()},
		"access_mode":            {AccessType: singleWriter().GetAccessType()},
		"access_mode MULTI_NODE": mountCapability(csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER),
		"mount_flags":            requests.Writer("ext4", "bind"),
		"fs_type ntfs":           requests.Writer("ntfs"),
		"fs_type xxx":            requests.Writer(strings.Repeat("x", requests.TooLong)),
	}
	group := singleWriter()
	group.GetMount().VolumeMountGroup = "1000"
	bad["volume_mount_group"] = group
	readers := sharedBlock()
	readers.AccessMode.Mode = csi.VolumeCapability_AccessMode_MULTI_NODE_READER_ONLY
	bad["access_mode MULTI_NODE_READER_ONLY"] = readers
	return bad
}

// spoilCommon spoils the fields that several requests have.
func spoilCommon(rpc string, request proto.Message) map[string]spoiler {
	spoilers := map[string]spoiler{}
	if requests.Field(request, "volume_id") != nil {
		spoilers["volume_id missing"] = spoiler{requests.SetText("volume_id", ""), codes.InvalidArgument, "volume_id"}
		const version0 = "pvc-ccdecfad-a8bf-572e-9120-464c4d99f12f" // that volume may exist, so not even its detach succeeds
		spoilers["volume_id of v0.x"] = spoiler{requests.SetText("volume_id", version0), codes.FailedPrecondition, version0}
		if rpc != "delete" && rpc != "unpublish" { // there, what can't exist is gone
			for what, id := range map[string]string{"unknown": handle1, "not ours": "vol-1", "of 1 MiB": strings.Repeat("x", requests.TooLong), "climbs": "raid10/../csi-0123456789abcdef0123456789ab"} {
				spoilers["volume_id "+what] = spoiler{requests.SetText("volume_id", id), codes.NotFound, ""}
			}
		}
	}
	if requests.Field(request, "volume_capability") != nil {
		for names, capability := range badCapabilities() {
			spoilers["capability "+names] = spoiler{requests.Set("volume_capability", capability), codes.InvalidArgument, names}
		}
	}
	if requests.Field(request, "max_entries") != nil {
		spoilers["max_entries negative"] = spoiler{func(request proto.Message) {
			request.ProtoReflect().Set(requests.Field(request, "max_entries"), protoreflect.ValueOfInt32(-1))
		}, codes.InvalidArgument, "max_entries"}
		for what, token := range map[string]string{"unknown": "token", "of 1 MiB": strings.Repeat("x", requests.TooLong)} {
			spoilers["starting_token "+what] = spoiler{requests.SetText("starting_token", token), codes.Aborted, "starting_token"}
		}
	}
	if requests.Field(request, "parameters") != nil && rpc != "validate" {
		maps.Copy(spoilers, spoilParameters())
	}
	return spoilers
}

func setParameter(key, value string) func(proto.Message) {
	return func(request proto.Message) {
		request.ProtoReflect().Mutable(requests.Field(request, "parameters")).Map().Set(protoreflect.ValueOfString(key).MapKey(), protoreflect.ValueOfString(value))
	}
}

func spoilParameters() map[string]spoiler {
	spoilers := map[string]spoiler{
		"parameter unknown":  {setParameter("Pool", "x"), codes.InvalidArgument, "Pool"},
		"parameter of 1 MiB": {setParameter(strings.Repeat("x", requests.TooLong), "x"), codes.InvalidArgument, "xxx"},
		"pool missing":       {setParameter("pool", ""), codes.InvalidArgument, "pool"},
		"pool unknown":       {setParameter("pool", "raid5"), codes.InvalidArgument, "raid5"},
		"pool with a quote":  {setParameter("pool", `"]; /disk remove [find]`), codes.InvalidArgument, "pool"},
		"pool of 1 MiB":      {setParameter("pool", strings.Repeat("x", requests.TooLong)), codes.InvalidArgument, "pool"},
	}
	for _, name := range nvme.OptionNames() {
		spoilers["option "+name] = spoiler{setParameter(name, "1,x"), codes.InvalidArgument, name}
	}
	return spoilers
}

func spoilCapacity() map[string]spoiler {
	spoilers := map[string]spoiler{}
	for what, capacity := range map[string]*csi.CapacityRange{
		"negative": {RequiredBytes: -1}, "negative limit": {LimitBytes: -1}, "contradictory": {RequiredBytes: 64 * mebibyte, LimitBytes: 32 * mebibyte},
	} {
		spoilers["capacity_range "+what] = spoiler{requests.Set("capacity_range", capacity), codes.InvalidArgument, "capacity_range"}
	}
	spoilers["capacity_range beyond everything"] = spoiler{requests.Set("capacity_range", &csi.CapacityRange{RequiredBytes: maximumSize + 1}), codes.OutOfRange, ""}
	spoilers["capacity_range between two sizes"] = spoiler{requests.Set("capacity_range", &csi.CapacityRange{RequiredBytes: 64*mebibyte + 1, LimitBytes: 64*mebibyte + 2}), codes.OutOfRange, ""}
	return spoilers
}

// spoilCreate spoils what only CreateVolume has.
func spoilCreate() map[string]spoiler {
	spoilers := spoilCapacity()
	create := func(name string, want codes.Code, names string, spoil func(*csi.CreateVolumeRequest)) {
		spoilers[name] = spoiler{func(request proto.Message) { spoil(request.(*csi.CreateVolumeRequest)) }, want, names} //nolint:forcetypeassert // as the name says
	}
	for names, capability := range badCapabilities() {
		create("capability "+names, codes.InvalidArgument, names, func(r *csi.CreateVolumeRequest) { r.VolumeCapabilities[0] = capability })
	}
	create("one bad capability of two", codes.InvalidArgument, "fs_type", func(r *csi.CreateVolumeRequest) {
		r.VolumeCapabilities = append(r.VolumeCapabilities, requests.Writer("btrfs"))
	})
	create("no capabilities", codes.InvalidArgument, "volume_capabilities", func(r *csi.CreateVolumeRequest) { r.VolumeCapabilities = nil })
	create("another size", codes.AlreadyExists, "", func(r *csi.CreateVolumeRequest) { r.CapacityRange.RequiredBytes *= 2 })
	create("block with a filesystem", codes.InvalidArgument, parameterFilesystem, func(r *csi.CreateVolumeRequest) {
		r.Parameters[parameterFilesystem], r.VolumeCapabilities[0] = "xfs", sharedBlock()
	})
	create("two filesystems", codes.InvalidArgument, parameterFilesystem, func(r *csi.CreateVolumeRequest) {
		r.Parameters[parameterFilesystem], r.VolumeCapabilities[0] = "xfs", requests.Writer("ext4")
	})
	create("unknown filesystem", codes.InvalidArgument, parameterFilesystem, func(r *csi.CreateVolumeRequest) { r.Parameters[parameterFilesystem] = "ntfs" })
	create("content", codes.InvalidArgument, "volume_content_source", func(r *csi.CreateVolumeRequest) { r.VolumeContentSource = &csi.VolumeContentSource{} })
	create("filesystem that the capability doesn't name", codes.InvalidArgument, parameterFilesystem, func(r *csi.CreateVolumeRequest) { r.Parameters[parameterFilesystem] = "xfs" })
	create("mutable parameters", codes.InvalidArgument, "mutable_parameters", func(r *csi.CreateVolumeRequest) { r.MutableParameters = map[string]string{"iops": "1"} })
	create("topology", codes.InvalidArgument, "accessibility_requirements", func(r *csi.CreateVolumeRequest) {
		r.AccessibilityRequirements = &csi.TopologyRequirement{Preferred: []*csi.Topology{{Segments: map[string]string{"zone": "1"}}}}
	})
	// The name is taken, on another pool.
	spoilers["pool unknown"] = spoiler{setParameter("pool", "raid5"), codes.AlreadyExists, "raid10"}
	for what, name := range map[string]string{"missing": "", "of 129 bytes": strings.Repeat("x", 129), "of 1 MiB": strings.Repeat("x", requests.TooLong), "with a quote": `x"`, "with a line break": "x\ny"} {
		spoilers["name "+what] = spoiler{requests.SetText("name", name), codes.InvalidArgument, "name: "}
	}
	return spoilers
}

func controllerSpoilers(rpc string, request proto.Message) map[string]spoiler {
	spoilers := spoilCommon(rpc, request)
	switch rpc {
	case "create":
		maps.Copy(spoilers, spoilCreate())
	case "publish":
		spoilers["capability missing"] = spoiler{requests.Clear("volume_capability"), codes.InvalidArgument, "volume_capability"}
		spoilers["node_id missing"] = spoiler{requests.SetText("node_id", ""), codes.InvalidArgument, "node_id"}
		for what, id := range map[string]string{"without machine": "node-a", "of 1 MiB": strings.Repeat("x", requests.TooLong), "with a quote": `a"/b`} {
			spoilers["node_id "+what] = spoiler{requests.SetText("node_id", id), codes.NotFound, ""}
		}
	case "expand":
		maps.Copy(spoilers, spoilCapacity())
		spoilers["capacity_range missing"] = spoiler{requests.Clear("capacity_range"), codes.InvalidArgument, "capacity_range"}
		spoilers["shrink"] = spoiler{requests.Set("capacity_range", &csi.CapacityRange{RequiredBytes: 16 * mebibyte, LimitBytes: 32 * mebibyte}), codes.OutOfRange, ""}
	case "room":
		spoilers["topology"] = spoiler{requests.Set("accessible_topology", &csi.Topology{Segments: map[string]string{"zone": "1"}}), codes.InvalidArgument, "accessible_topology"}
		for what, filesystem := range map[string]string{"unknown": "ntfs", "of 1 MiB": strings.Repeat("x", requests.TooLong)} {
			spoilers["filesystem "+what] = spoiler{setParameter(parameterFilesystem, filesystem), codes.InvalidArgument, parameterFilesystem}
		}
	case "validate":
		spoilers["capabilities missing"] = spoiler{requests.Clear("volume_capabilities"), codes.InvalidArgument, "volume_capabilities"}
	}
	return spoilers
}

// Every field of every request, missing, unknown, over-long or contradicting another one: the error has the code that
// CSI names, says which field, and leaves the appliance as it was.
func TestBadRequestsToTheControllerChangeNothing(t *testing.T) {
	w := newControllerWorld(t)
	volume := w.create(t)
	before := w.sim.Disks()
	for rpc, c := range w.calls(volume) {
		for name, bad := range controllerSpoilers(rpc, c.Good) {
			request := proto.Clone(c.Good)
			bad.spoil(request)
			err := c.Do(t.Context(), request)
			if failure.Code(err) != bad.want {
				t.Errorf("%s, %s: %.300v, want %v", rpc, name, err, bad.want)
				continue
			}
			if !strings.Contains(err.Error(), bad.names) || len(err.Error()) > 8<<10 {
				t.Errorf("%s, %s: %.300v (%d bytes): want it to name %q, in less than 8 KiB", rpc, name, err, len(err.Error()), bad.names)
			}
		}
	}
	if diff := cmp.Diff(before, w.sim.Disks()); diff != "" {
		t.Errorf("bad requests changed the appliance (-before +after):\n%s", diff)
	}
	for _, rpc := range []string{"create", "publish", "unpublish", "validate", "expand", "get", "health", "list", "unwell", "room", "delete"} {
		c := w.calls(volume)[rpc]
		if err := c.Do(t.Context(), c.Good); err != nil {
			t.Errorf("%s with a good request: %v", rpc, err)
		}
	}
}
