package node

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/node/host"
)

func blockOf(mode csi.VolumeCapability_AccessMode_Mode) *csi.VolumeCapability {
	return &csi.VolumeCapability{
		AccessType: &csi.VolumeCapability_Block{Block: &csi.VolumeCapability_BlockVolume{}},
		AccessMode: &csi.VolumeCapability_AccessMode{Mode: mode},
	}
}

const (
	oneWriter  = csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER
	onePod     = csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER
	manyPods   = csi.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER
	oneReader  = csi.VolumeCapability_AccessMode_SINGLE_NODE_READER_ONLY
	manyNodes  = csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER
	grantedFor = "access" // the key of a publish context
)

func (w *nodeWorld) blockStage(t *testing.T, mode csi.VolumeCapability_AccessMode_Mode) *csi.NodeStageVolumeRequest {
	t.Helper()
	request := w.stageRequest(t, epochA)
	request.VolumeCapability = blockOf(mode)
	request.PublishContext[grantedFor] = attach.AccessBlock
	return request
}

func (w *nodeWorld) blockPublish(t *testing.T, mode csi.VolumeCapability_AccessMode_Mode) *csi.NodePublishVolumeRequest {
	t.Helper()
	request := w.publishRequest(t, epochA)
	request.VolumeCapability = blockOf(mode)
	request.PublishContext[grantedFor] = attach.AccessBlock
	return request
}

func TestBlockVolumeLivesTwice(t *testing.T) {
	w := newNodeWorld(t)
	life := func() {
		for range 2 {
			if _, err := w.NodeStageVolume(t.Context(), w.blockStage(t, manyNodes)); err != nil {
				t.Fatalf("stage: %v", err)
			}
		}
		for range 2 {
			if _, err := w.NodePublishVolume(t.Context(), w.blockPublish(t, manyNodes)); err != nil {
				t.Fatalf("publish: %v", err)
			}
		}
		if staged, published := w.mountedAt(w.staging), w.mountedAt(w.target); len(staged) != 0 || !slices.Equal(published, []string{"devtmpfs"}) {
			t.Fatalf("mounted: staged %v, published %v, want the device's node at the target, once", staged, published)
		}
		if info, err := os.Lstat(w.target); err != nil || !info.Mode().IsRegular() {
			t.Errorf("mount point: %v, %v, want a file", info, err)
		}
		if got := failure.Code(w.unstage(t)); got != codes.FailedPrecondition || len(w.connector.devices) != 1 {
			t.Errorf("unstage under a pod: %v, connections %v, want FailedPrecondition and the connection kept", got, w.connector.devices)
		}
		w.mustRemove(t)
	}
	life()
	life()
	if len(w.commands.ran) != 0 {
		t.Errorf("commands %v ran on a raw block volume, want none", w.commands.ran)
	}
}

// The device that a reconnect brought may have another name, or the same one with another number behind it.
func TestBlockPublicationOfADeadDeviceIsMadeAnew(t *testing.T) {
	for name, replace := range map[string]func(*nodeWorld){"renumbered": (*nodeWorld).renumber, "renamed": (*nodeWorld).reconnect} {
		t.Run(name, func(t *testing.T) {
			w := newNodeWorld(t)
			w.mustBlock(t)
			before := w.mounts.nodes[w.target]
			replace(w)
			w.mustBlock(t)
			live := w.mounts.numbers[w.connector.devices[subsystemNQN(t, epochA)]]
			if got := w.mounts.nodes[w.target]; got != live || got == before {
				t.Errorf("published is device %d, want the live %d and not the dead %d", got, live, before)
			}
			if got := w.commands.count("umount --lazy"); got != 1 || len(w.mountedAt(w.target)) != 1 {
				t.Errorf("lazy unmounts = %d, mounted %v, want the dead one gone and one there", got, w.mountedAt(w.target))
			}
		})
	}
}

func (w *nodeWorld) mustBlock(t *testing.T) {
	t.Helper()
	if _, err := w.NodeStageVolume(t.Context(), w.blockStage(t, oneWriter)); err != nil {
		t.Fatalf("stage: %v", err)
	}
	if _, err := w.NodePublishVolume(t.Context(), w.blockPublish(t, oneWriter)); err != nil {
		t.Fatalf("publish: %v", err)
	}
}

// reconnect gives the subsystem of epoch A a device of another name.
func (w *nodeWorld) reconnect() {
	w.t.Helper()
	nqn := subsystemNQN(w.t, epochA)
	w.connector.lose(nqn)
	if _, err := w.connector.attach(nqn); err != nil {
		w.t.Fatal(err)
	}
}

// renumber gives it another device of the same name.
func (w *nodeWorld) renumber() {
	w.t.Helper()
	nqn := subsystemNQN(w.t, epochA)
	name := w.connector.devices[nqn]
	w.reconnect()
	w.mounts.numbers[name] = w.mounts.numbers[w.connector.devices[nqn]]
	w.connector.devices[nqn] = name
}

func TestFilesystemOfADeadDeviceIsMountedAnew(t *testing.T) {
	for name, replace := range map[string]func(*nodeWorld){"renumbered": (*nodeWorld).renumber, "renamed": (*nodeWorld).reconnect} {
		for call, again := range map[string]func(*nodeWorld, *testing.T, string){"stage": (*nodeWorld).mustStage, "publish": (*nodeWorld).mustPublish} {
			t.Run(name+" "+call, func(t *testing.T) {
				w := newNodeWorld(t)
				w.mustStage(t, epochA)
				w.mustPublish(t, epochA)
				replace(w)
				again(w, t, epochA)
				live := w.mounts.numbers[w.connector.devices[subsystemNQN(t, epochA)]]
				staged, err := w.host.MountsAt(w.staging)
				if err != nil || len(staged) != 1 || deviceNumberOf(t, w, w.staging) != live {
					t.Errorf("staged: %v, %v, want the live device %d only", staged, err, live)
				}
				if call == "publish" && deviceNumberOf(t, w, w.target) != live {
					t.Error("published is the dead device")
				}
			})
		}
	}
}

func deviceNumberOf(t *testing.T, w *nodeWorld, path string) host.DeviceNumber {
	t.Helper()
	mounts, err := w.host.MountsAt(path)
	if err != nil || len(mounts) == 0 {
		t.Fatalf("mounts at %s: %v, %v", path, mounts, err)
	}
	number, err := w.host.DeviceOf(mounts[len(mounts)-1])
	if err != nil {
		t.Fatal(err)
	}
	return number
}

// Whoever writes a device destroys the filesystem on it, so a volume is used in one way at a time.
func TestBlockAndFilesystemAreIncompatible(t *testing.T) {
	t.Run("filesystem first", func(t *testing.T) {
		w := newNodeWorld(t)
		w.mustStage(t, epochA)
		_, stage := w.NodeStageVolume(t.Context(), w.blockStage(t, oneWriter))
		_, publish := w.NodePublishVolume(t.Context(), w.blockPublish(t, oneWriter))
		if failure.Code(stage) != codes.AlreadyExists || failure.Code(publish) != codes.AlreadyExists || len(w.mounts.table) != 1 {
			t.Errorf("stage: %v, publish: %v, mounts %v, want AlreadyExists and nothing changed", stage, publish, w.mounts.table)
		}
	})
	t.Run("block first", func(t *testing.T) {
		w := newNodeWorld(t)
		w.mustBlock(t)
		_, stage := w.NodeStageVolume(t.Context(), w.stageRequest(t, epochA))
		_, publish := w.NodePublishVolume(t.Context(), w.publishRequest(t, epochA))
		if failure.Code(stage) != codes.AlreadyExists || failure.Code(publish) != codes.AlreadyExists || len(w.commands.ran) != 0 {
			t.Errorf("stage: %v, publish: %v, commands %v, want AlreadyExists and nothing run", stage, publish, w.commands.ran)
		}
	})
}

func TestReaderOfABlockVolumeCannotWriteTheDevice(t *testing.T) {
	w := newNodeWorld(t)
	for _, mode := range []csi.VolumeCapability_AccessMode_Mode{oneReader, oneWriter} {
		if _, err := w.NodeStageVolume(t.Context(), w.blockStage(t, mode)); err != nil {
			t.Fatal(err)
		}
		device := w.connector.devices[subsystemNQN(t, epochA)]
		if got, want := w.mounts.unwritable[device], mode == oneReader; got != want {
			t.Errorf("%v: device is unwritable = %t, want %t", mode, got, want)
		}
	}
}

// What the attachment was made for decides, also where the rest of the request says less.
func TestReadOnlyGrantIsReadOnlyForEveryone(t *testing.T) {
	w := newNodeWorld(t)
	w.mustStage(t, epochA)
	if err := w.unstage(t); err != nil {
		t.Fatal(err)
	}
	stage, publish := w.stageRequest(t, epochA), w.publishRequest(t, epochA)
	stage.PublishContext["readOnly"], publish.PublishContext["readOnly"] = "true", "true"
	if _, err := w.NodeStageVolume(t.Context(), stage); err != nil {
		t.Fatal(err)
	}
	if _, err := w.NodePublishVolume(t.Context(), publish); err != nil {
		t.Fatal(err)
	}
	for _, m := range w.mounts.table {
		if !host.ReadOnly(m) {
			t.Errorf("mounted at %s with %v, want ro", m.MountPoint, m.MountOptions)
		}
	}
	device := w.connector.devices[subsystemNQN(t, epochA)]
	if !w.mounts.unwritable[device] {
		t.Error("the device below the filesystem can be written")
	}
	// The journal is replayed before that, and a volume that is published to be written is so again.
	if !slices.Equal(w.mounts.protected[device], []bool{false, true, true}) {
		t.Errorf("write protection of the device: %v, want none for mounting, then some, also when published", w.mounts.protected[device])
	}
	w.mustRemove(t)
	w.mustStage(t, epochA)
	if device := w.connector.devices[subsystemNQN(t, epochA)]; w.mounts.unwritable[device] {
		t.Error("a volume that is to be written has a device that can't be")
	}
}

// ReadWriteOncePod is for one pod, and kubelet alone can't promise that.
func TestOnePodsVolumeIsPublishedOnce(t *testing.T) {
	for mode, want := range map[csi.VolumeCapability_AccessMode_Mode]codes.Code{onePod: codes.FailedPrecondition, manyPods: codes.OK, oneWriter: codes.OK} {
		for name, request := range map[string]func(*nodeWorld) (*csi.NodeStageVolumeRequest, *csi.NodePublishVolumeRequest){
			"block": func(w *nodeWorld) (*csi.NodeStageVolumeRequest, *csi.NodePublishVolumeRequest) {
				return w.blockStage(t, mode), w.blockPublish(t, mode)
			},
			"filesystem": func(w *nodeWorld) (*csi.NodeStageVolumeRequest, *csi.NodePublishVolumeRequest) {
				stage, publish := w.stageRequest(t, epochA), w.publishRequest(t, epochA)
				stage.VolumeCapability.AccessMode.Mode, publish.VolumeCapability.AccessMode.Mode = mode, mode
				return stage, publish
			},
		} {
			t.Run(name+" "+mode.String(), func(t *testing.T) {
				w := newNodeWorld(t)
				stage, publish := request(w)
				if _, err := w.NodeStageVolume(t.Context(), stage); err != nil {
					t.Fatal(err)
				}
				for range 2 {
					if _, err := w.NodePublishVolume(t.Context(), publish); err != nil {
						t.Fatal(err)
					}
				}
				publish.TargetPath = filepath.Join(w.folder, "pod2")
				if _, err := w.NodePublishVolume(t.Context(), publish); failure.Code(err) != want {
					t.Errorf("publish for a second pod: %v, want %v", err, want)
				}
			})
		}
	}
}

func TestBlockMountPointThatHoldsDataIsLeftAlone(t *testing.T) {
	w := newNodeWorld(t)
	if err := os.WriteFile(w.target, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := w.NodeStageVolume(t.Context(), w.blockStage(t, oneWriter)); err != nil {
		t.Fatal(err)
	}
	_, publish := w.NodePublishVolume(t.Context(), w.blockPublish(t, oneWriter))
	if unpublish := w.unpublish(t); publish == nil || unpublish == nil {
		t.Errorf("publish: %v, unpublish: %v, want errors", publish, unpublish)
	}
	if got, err := os.ReadFile(w.target); err != nil || !cmp.Equal(string(got), "precious") {
		t.Errorf("the file: %q, %v, want it as it was", got, err)
	}
}
