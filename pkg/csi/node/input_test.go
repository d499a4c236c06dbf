package node

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/test/requests"
)

func (w *nodeWorld) calls() map[string]requests.Call {
	t := w.t
	return map[string]requests.Call{
		"stage":     requests.CallOf(w.stageRequest(t, epochA), w.NodeStageVolume),
		"publish":   requests.CallOf(w.publishRequest(t, epochA), w.NodePublishVolume),
		"unpublish": requests.CallOf(&csi.NodeUnpublishVolumeRequest{VolumeId: testVolume, TargetPath: w.target}, w.NodeUnpublishVolume),
		"unstage":   requests.CallOf(&csi.NodeUnstageVolumeRequest{VolumeId: testVolume, StagingTargetPath: w.staging}, w.NodeUnstageVolume),
		"expand":    requests.CallOf(w.expandRequest(w.target, 1<<20), w.NodeExpandVolume),
		"stats":     requests.CallOf(&csi.NodeGetVolumeStatsRequest{VolumeId: testVolume, VolumePath: w.target, StagingTargetPath: w.staging}, w.NodeGetVolumeStats),
		"health":    requests.CallOf(&csi.NodeGetVolumeHealthRequest{VolumeId: testVolume, VolumePublishPath: w.target, StagingTargetPath: w.staging}, w.NodeGetVolumeHealth),
	}
}

// spoiler makes a good request bad in one field.
type spoiler struct {
	spoil func(proto.Message)
	want  codes.Code
	names string // what the error has to name
}

// spoilTexts spoils the volume ID and every path that a request has.
func spoilTexts(rpc string, request proto.Message) map[string]spoiler {
	spoilers := map[string]spoiler{
		"volume_id missing":      {requests.SetText("volume_id", ""), codes.InvalidArgument, "volume_id"},
		"volume_id of 129 bytes": {requests.SetText("volume_id", "raid10/"+strings.Repeat("x", 122)), codes.InvalidArgument, "volume_id"},
		"volume_id of 1 MiB":     {requests.SetText("volume_id", strings.Repeat("x", requests.TooLong)), codes.InvalidArgument, "volume_id"},
	}
	const version0 = "pvc-ccdecfad-a8bf-572e-9120-464c4d99f12f"
	if rpc != "unpublish" && rpc != "unstage" { // what is mounted must go all the same
		spoilers["volume_id of v0.x"] = spoiler{requests.SetText("volume_id", version0), codes.FailedPrecondition, version0}
	}
	switch rpc {
	case "stage", "publish":
		spoilers["volume_id unknown"] = spoiler{requests.SetText("volume_id", "vol-1"), codes.InvalidArgument, "volume_id"}
		spoilers["volume_id climbs"] = spoiler{requests.SetText("volume_id", "raid10/../"+testVolume[len("raid10/rds-csi/"):]), codes.InvalidArgument, "volume_id"}
	case "expand", "stats", "health":
		spoilers["volume_id unknown"] = spoiler{requests.SetText("volume_id", "vol-1"), codes.NotFound, "volume_id"}
	}
	for _, name := range []string{"staging_target_path", "target_path", "volume_path", "volume_publish_path"} {
		if requests.Field(request, name) == nil {
			continue
		}
		for what, path := range map[string]string{
			"root": "/", "climbs to the root": "/tmp/..", "with a space": "/var/a b", "with a tab": "/var/a\tb", "with a newline": "/var/a\nb",
			"with a backslash": `/var/a\b`, "with a NUL": "/var/a\x00b", "of 4096 bytes": "/" + strings.Repeat("x", 4095), "of 1 MiB": "/" + strings.Repeat("x/", requests.TooLong/2),
		} {
			spoilers[name+" "+what] = spoiler{requests.SetText(name, path), codes.InvalidArgument, name}
		}
		missing, relative := codes.InvalidArgument, codes.InvalidArgument
		switch {
		case name == "volume_path":
			relative = codes.NotFound // as csi-sanity has it: nothing is there
		case name == "staging_target_path" && rpc == "publish":
			missing = codes.FailedPrecondition // the one case that CSI names another code for
		}
		spoilers[name+" relative"] = spoiler{requests.SetText(name, "some/path"), relative, name}
		if optional := rpc == "health" || name == "staging_target_path" && rpc != "publish" && rpc != "stage" && rpc != "unstage" || rpc == "expand" && name == "staging_target_path"; !optional {
			spoilers[name+" missing"] = spoiler{requests.SetText(name, ""), missing, name}
		}
	}
	return spoilers
}

type publishing interface {
	GetVolumeCapability() *csi.VolumeCapability
	GetPublishContext() map[string]string
	GetVolumeContext() map[string]string
}

// spoilUse spoils what stage and publish are told of how the volume is to be used and reached.
func spoilUse() map[string]spoiler {
	capability := func(value *csi.VolumeCapability) func(proto.Message) {
		return func(request proto.Message) {
			request.ProtoReflect().Set(requests.Field(request, "volume_capability"), protoreflect.ValueOfMessage(value.ProtoReflect()))
		}
	}
	spoilers := map[string]spoiler{
		"capability missing": {func(request proto.Message) {
			request.ProtoReflect().Clear(requests.Field(request, "volume_capability"))
		}, codes.InvalidArgument, "volume_capability"},
		"no access type":                   {capability(&csi.VolumeCapability{AccessMode: requests.Writer("").GetAccessMode()}), codes.InvalidArgument, "access_type"},
		"no access mode":                   {capability(&csi.VolumeCapability{AccessType: requests.Writer("").GetAccessType()}), codes.InvalidArgument, "access_mode"},
		"block, but granted as filesystem": {capability(blockOf(oneWriter)), codes.InvalidArgument, "access_type"},
		"options that never end":           {capability(requests.Writer("ext4", strings.Repeat("a,", 4096))), codes.InvalidArgument, "mount_flags"},
		"publish_context missing":          {func(request proto.Message) { request.ProtoReflect().Clear(requests.Field(request, "publish_context")) }, codes.InvalidArgument, "publish_context"},
		"another machine's":                {setContext("nodeID", "worker-1/machine-0"), codes.FailedPrecondition, "worker-1/machine-0"},
		"another volume's":                 {setContext(attach.KeySubsystemNQN, "nqn.2026-11.io.srvlab.csi.rds:csi-1123456789abcdef0123456789ab:"+epochA), codes.InvalidArgument, attach.KeySubsystemNQN},
		"granted as block":                 {setContext(grantedFor, attach.AccessBlock), codes.InvalidArgument, "access_type"},
	}
	for _, mode := range []csi.VolumeCapability_AccessMode_Mode{0, 3, 4, 5, 99} {
		unsupported := requests.Writer("ext4")
		unsupported.AccessMode.Mode = mode
		spoilers["mode "+mode.String()] = spoiler{capability(unsupported), codes.InvalidArgument, "access_mode"}
	}
	for _, filesystem := range []string{"btrfs", "EXT4", "ext4 ", strings.Repeat("x", requests.TooLong), "../ext4", "-f"} {
		spoilers["filesystem "+filesystem[:min(9, len(filesystem))]] = spoiler{capability(requests.Writer(filesystem)), codes.InvalidArgument, "fs_type"}
	}
	for _, flag := range []string{"bind", "noatime,rbind", "remount", "move", "loop", `context="a`, "a\nb", strings.Repeat("x", requests.TooLong)} {
		spoilers["flag "+flag[:min(9, len(flag))]] = spoiler{capability(requests.Writer("ext4", flag)), codes.InvalidArgument, "mount_flags"}
	}
	for _, key := range []string{"address", "port", attach.KeySubsystemNQN, "nodeID", "generation", grantedFor, "mode", "readOnly"} {
		spoilers["publish_context without "+key] = spoiler{func(request proto.Message) {
			delete(request.(publishing).GetPublishContext(), key) //nolint:forcetypeassert // stage or publish
		}, codes.InvalidArgument, "publish_context"}
	}
	for key, values := range map[string][]string{
		"address": {"192.0.2.1,hostnqn=x", "a b", "a\nb", strings.Repeat("x", 254), "-a", "http://a"}, "port": {"0", "65536", "-1", "nvme", "4420 "},
		attach.KeySubsystemNQN: {"nqn.2014-08.org.nvmexpress:uuid:x", subsystemPrefix + "aaaa", subsystemPrefix + epochA + ",x", subsystemPrefix + strings.Repeat("a", requests.TooLong)},
		"nodeID":               {"worker-1", "a/b/c", strings.Repeat("x", 300)}, "generation": {"0", "-1", "x"}, "readOnly": {"perhaps"},
	} {
		for _, value := range values {
			spoilers["publish_context "+key+"="+value[:min(40, len(value))]] = spoiler{setContext(key, value), codes.InvalidArgument, "publish_context"}
		}
	}
	for _, name := range nvme.OptionNames() {
		spoilers["volume_context "+name] = spoiler{func(request proto.Message) {
			context := request.ProtoReflect().Mutable(requests.Field(request, "volume_context")).Map()
			context.Set(protoreflect.ValueOfString(name).MapKey(), protoreflect.ValueOfString("1,x"))
		}, codes.InvalidArgument, "volume_context"}
	}
	return spoilers
}

const subsystemPrefix = "nqn.2026-11.io.srvlab.csi.rds:csi-0123456789abcdef0123456789ab:"

func setContext(key, value string) func(proto.Message) {
	return func(request proto.Message) {
		request.(publishing).GetPublishContext()[key] = value //nolint:forcetypeassert // stage or publish
	}
}

func spoilersOf(w *nodeWorld, rpc string, request proto.Message) map[string]spoiler {
	spoilers := spoilTexts(rpc, request)
	switch rpc {
	case "stage":
		maps.Copy(spoilers, spoilUse())
	case "publish":
		maps.Copy(spoilers, spoilUse())
		for what, path := range map[string]string{"is": w.staging, "is in": w.staging + "/pod", "holds": w.folder} {
			spoilers["target_path "+what+" the staging path"] = spoiler{requests.SetText("target_path", path), codes.InvalidArgument, "target_path"}
		}
	case "expand":
		for what, capacity := range map[string]*csi.CapacityRange{
			"negative": {RequiredBytes: -1}, "negative limit": {LimitBytes: -1}, "contradictory": {RequiredBytes: 2 << 20, LimitBytes: 1 << 20},
		} {
			spoilers["capacity_range "+what] = spoiler{func(request proto.Message) {
				request.ProtoReflect().Set(requests.Field(request, "capacity_range"), protoreflect.ValueOfMessage(capacity.ProtoReflect()))
			}, codes.OutOfRange, "capacity_range"}
		}
		spoilers["capability of many nodes"] = spoiler{func(request proto.Message) {
			unsupported := requests.Writer("ext4")
			unsupported.AccessMode.Mode = manyNodes
			request.ProtoReflect().Set(requests.Field(request, "volume_capability"), protoreflect.ValueOfMessage(unsupported.ProtoReflect()))
		}, codes.InvalidArgument, "access_mode"}
	}
	return spoilers
}

// Every field of every request, missing, unknown, over-long or contradicting another one: the error has the right code
// and names the field, and nothing is touched, on a node where the volume is in use.
func TestBadRequestsToNodesTouchNothing(t *testing.T) {
	w := newNodeWorld(t)
	w.mustStage(t, epochA)
	w.mustPublish(t, epochA)
	w.commands.ran, w.connector.connects = nil, 0
	before := slices.Clone(w.mounts.table)
	for rpc, c := range w.calls() {
		for name, bad := range spoilersOf(w, rpc, c.Good) {
			t.Run(rpc+" "+name, func(t *testing.T) {
				request := proto.Clone(c.Good)
				bad.spoil(request)
				err := c.Do(t.Context(), request)
				if failure.Code(err) != bad.want {
					t.Fatalf("%.300v, want %v", err, bad.want)
				}
				if !strings.Contains(err.Error(), bad.names) || len(err.Error()) > 8<<10 {
					t.Errorf("%.300v (%d bytes): want it to name %s, in less than 8 KiB", err, len(err.Error()), bad.names)
				}
			})
		}
	}
	if w.connector.connects != 0 || len(w.commands.ran) != 0 || len(w.connector.disconnected) != 0 || len(w.connector.rescanned) != 0 || !slices.EqualFunc(before, w.mounts.table, sameMount) {
		t.Errorf("refused requests touched something: %d connects, commands %v, disconnected %v, rescanned %v, mounts %v",
			w.connector.connects, w.commands.ran, w.connector.disconnected, w.connector.rescanned, w.mounts.table)
	}
	for rpc, c := range w.calls() {
		if rpc == "unpublish" || rpc == "unstage" {
			continue
		}
		if err := c.Do(t.Context(), proto.Clone(c.Good)); err != nil {
			t.Errorf("%s with a good request: %v", rpc, err)
		}
	}
}
