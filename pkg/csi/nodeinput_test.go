package csi

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
)

// goodCall is one RPC with a request that is good.
type goodCall struct {
	good proto.Message
	call func(context.Context, proto.Message) error
}

func callOf[Q proto.Message, A any](good Q, rpc func(context.Context, Q) (A, error)) goodCall {
	return goodCall{good: good, call: func(ctx context.Context, request proto.Message) error {
		_, err := rpc(ctx, request.(Q)) //nolint:forcetypeassert // a clone of good
		return err
	}}
}

func (w *nodeWorld) calls() map[string]goodCall {
	t := w.t
	return map[string]goodCall{
		"stage":     callOf(w.stageRequest(t, epochA), w.NodeStageVolume),
		"publish":   callOf(w.publishRequest(t, epochA), w.NodePublishVolume),
		"unpublish": callOf(&csi.NodeUnpublishVolumeRequest{VolumeId: testVolume, TargetPath: w.target}, w.NodeUnpublishVolume),
		"unstage":   callOf(&csi.NodeUnstageVolumeRequest{VolumeId: testVolume, StagingTargetPath: w.staging}, w.NodeUnstageVolume),
		"expand":    callOf(w.expandRequest(w.target, 1<<20), w.NodeExpandVolume),
		"stats":     callOf(&csi.NodeGetVolumeStatsRequest{VolumeId: testVolume, VolumePath: w.target, StagingTargetPath: w.staging}, w.NodeGetVolumeStats),
		"health":    callOf(&csi.NodeGetVolumeHealthRequest{VolumeId: testVolume, VolumePublishPath: w.target, StagingTargetPath: w.staging}, w.NodeGetVolumeHealth),
	}
}

// spoiler makes a good request bad in one field.
type spoiler struct {
	spoil func(proto.Message)
	want  codes.Code
	names string // what the error has to name
}

func field(request proto.Message, name string) protoreflect.FieldDescriptor {
	return request.ProtoReflect().Descriptor().Fields().ByName(protoreflect.Name(name))
}

func setText(name, value string) func(proto.Message) {
	return func(request proto.Message) {
		request.ProtoReflect().Set(field(request, name), protoreflect.ValueOfString(value))
	}
}

const longText = 1 << 20

// spoilTexts spoils the volume ID and every path that a request has.
func spoilTexts(rpc string, request proto.Message) map[string]spoiler {
	spoilers := map[string]spoiler{
		"volume_id missing":      {setText("volume_id", ""), codes.InvalidArgument, "volume_id"},
		"volume_id of 129 bytes": {setText("volume_id", "raid10/"+strings.Repeat("x", 122)), codes.InvalidArgument, "volume_id"},
		"volume_id of 1 MiB":     {setText("volume_id", strings.Repeat("x", longText)), codes.InvalidArgument, "volume_id"},
	}
	switch rpc {
	case "stage", "publish":
		spoilers["volume_id unknown"] = spoiler{setText("volume_id", "vol-1"), codes.InvalidArgument, "volume_id"}
		spoilers["volume_id climbs"] = spoiler{setText("volume_id", "raid10/../"+testVolume[len("raid10/rds-csi/"):]), codes.InvalidArgument, "volume_id"}
	case "expand", "stats", "health":
		spoilers["volume_id unknown"] = spoiler{setText("volume_id", "vol-1"), codes.NotFound, "volume_id"}
	}
	for _, name := range []string{"staging_target_path", "target_path", "volume_path", "volume_publish_path"} {
		if field(request, name) == nil {
			continue
		}
		for what, path := range map[string]string{
			"root": "/", "climbs to the root": "/tmp/..", "with a space": "/var/a b", "with a tab": "/var/a\tb", "with a newline": "/var/a\nb",
			"with a backslash": `/var/a\b`, "with a NUL": "/var/a\x00b", "of 4096 bytes": "/" + strings.Repeat("x", 4095), "of 1 MiB": "/" + strings.Repeat("x/", longText/2),
		} {
			spoilers[name+" "+what] = spoiler{setText(name, path), codes.InvalidArgument, name}
		}
		missing, relative := codes.InvalidArgument, codes.InvalidArgument
		switch {
		case name == "volume_path":
			relative = codes.NotFound // as csi-sanity has it: nothing is there
		case name == "staging_target_path" && rpc == "publish":
			missing = codes.FailedPrecondition // the one case that CSI names another code for
		}
		spoilers[name+" relative"] = spoiler{setText(name, "some/path"), relative, name}
		if optional := rpc == "health" || name == "staging_target_path" && rpc != "publish" && rpc != "stage" && rpc != "unstage" || rpc == "expand" && name == "staging_target_path"; !optional {
			spoilers[name+" missing"] = spoiler{setText(name, ""), missing, name}
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
			request.ProtoReflect().Set(field(request, "volume_capability"), protoreflect.ValueOfMessage(value.ProtoReflect()))
		}
	}
	spoilers := map[string]spoiler{
		"capability missing":               {func(request proto.Message) { request.ProtoReflect().Clear(field(request, "volume_capability")) }, codes.InvalidArgument, "volume_capability"},
		"no access type":                   {capability(&csi.VolumeCapability{AccessMode: writerOf("").GetAccessMode()}), codes.InvalidArgument, "access_type"},
		"no access mode":                   {capability(&csi.VolumeCapability{AccessType: writerOf("").GetAccessType()}), codes.InvalidArgument, "access_mode"},
		"block, but granted as filesystem": {capability(blockOf(oneWriter)), codes.InvalidArgument, "access_type"},
		"options that never end":           {capability(writerOf("ext4", strings.Repeat("a,", 4096))), codes.InvalidArgument, "mount_flags"},
		"publish_context missing":          {func(request proto.Message) { request.ProtoReflect().Clear(field(request, "publish_context")) }, codes.InvalidArgument, "publish_context"},
		"another machine's":                {setContext("nodeID", "worker-1/machine-0"), codes.FailedPrecondition, "worker-1/machine-0"},
		"another volume's":                 {setContext(attach.KeySubsystemNQN, "nqn.2026-11.io.srvlab.csi.rds:csi-1123456789abcdef0123456789ab:"+epochA), codes.InvalidArgument, attach.KeySubsystemNQN},
		"granted as block":                 {setContext(grantedFor, attach.AccessBlock), codes.InvalidArgument, "access_type"},
	}
	for _, mode := range []csi.VolumeCapability_AccessMode_Mode{0, 3, 4, 5, 99} {
		unsupported := writerOf("ext4")
		unsupported.AccessMode.Mode = mode
		spoilers["mode "+mode.String()] = spoiler{capability(unsupported), codes.InvalidArgument, "access_mode"}
	}
	for _, filesystem := range []string{"btrfs", "EXT4", "ext4 ", strings.Repeat("x", longText), "../ext4", "-f"} {
		spoilers["filesystem "+filesystem[:min(9, len(filesystem))]] = spoiler{capability(writerOf(filesystem)), codes.InvalidArgument, "fs_type"}
	}
	for _, flag := range []string{"bind", "noatime,rbind", "remount", "move", "loop", `context="a`, "a\nb", strings.Repeat("x", longText)} {
		spoilers["flag "+flag[:min(9, len(flag))]] = spoiler{capability(writerOf("ext4", flag)), codes.InvalidArgument, "mount_flags"}
	}
	for _, key := range []string{keyAddress, keyPort, attach.KeySubsystemNQN, "nodeID", "generation", grantedFor, "mode", "readOnly"} {
		spoilers["publish_context without "+key] = spoiler{func(request proto.Message) {
			delete(request.(publishing).GetPublishContext(), key) //nolint:forcetypeassert // stage or publish
		}, codes.InvalidArgument, "publish_context"}
	}
	for key, values := range map[string][]string{
		keyAddress: {"192.0.2.1,hostnqn=x", "a b", "a\nb", strings.Repeat("x", 254), "-a", "http://a"}, keyPort: {"0", "65536", "-1", "nvme", "4420 "},
		attach.KeySubsystemNQN: {"nqn.2014-08.org.nvmexpress:uuid:x", subsystemPrefix + "aaaa", subsystemPrefix + epochA + ",x", subsystemPrefix + strings.Repeat("a", longText)},
		"nodeID":               {"worker-1", "a/b/c", strings.Repeat("x", 300)}, "generation": {"0", "-1", "x"}, "readOnly": {"perhaps"},
	} {
		for _, value := range values {
			spoilers["publish_context "+key+"="+value[:min(40, len(value))]] = spoiler{setContext(key, value), codes.InvalidArgument, "publish_context"}
		}
	}
	for _, name := range nvme.OptionNames() {
		spoilers["volume_context "+name] = spoiler{func(request proto.Message) {
			context := request.ProtoReflect().Mutable(field(request, "volume_context")).Map()
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
			spoilers["target_path "+what+" the staging path"] = spoiler{setText("target_path", path), codes.InvalidArgument, "target_path"}
		}
	case "expand":
		for what, capacity := range map[string]*csi.CapacityRange{
			"negative": {RequiredBytes: -1}, "negative limit": {LimitBytes: -1}, "contradictory": {RequiredBytes: 2 << 20, LimitBytes: 1 << 20},
		} {
			spoilers["capacity_range "+what] = spoiler{func(request proto.Message) {
				request.ProtoReflect().Set(field(request, "capacity_range"), protoreflect.ValueOfMessage(capacity.ProtoReflect()))
			}, codes.OutOfRange, "capacity_range"}
		}
		spoilers["capability of many nodes"] = spoiler{func(request proto.Message) {
			unsupported := writerOf("ext4")
			unsupported.AccessMode.Mode = manyNodes
			request.ProtoReflect().Set(field(request, "volume_capability"), protoreflect.ValueOfMessage(unsupported.ProtoReflect()))
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
		for name, bad := range spoilersOf(w, rpc, c.good) {
			t.Run(rpc+" "+name, func(t *testing.T) {
				request := proto.Clone(c.good)
				bad.spoil(request)
				err := c.call(t.Context(), request)
				if endedAs(err) != bad.want {
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
		if err := c.call(t.Context(), proto.Clone(c.good)); err != nil {
			t.Errorf("%s with a good request: %v", rpc, err)
		}
	}
}
