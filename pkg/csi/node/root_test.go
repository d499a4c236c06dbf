package node

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"k8s.io/mount-utils"
	utilexec "k8s.io/utils/exec"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/test/mounts"
	"git.srvlab.io/whiskey/rds-csi-driver/test/requests"
)

// loopConnector connects a loop device on one image, as a kernel would connect a namespace.
type loopConnector struct{ image, nqn, device string }

func (c *loopConnector) Connect(ctx context.Context, target nvme.Target) error {
	if c.device != "" {
		return nil
	}
	output, err := exec.CommandContext(ctx, "losetup", "--find", "--show", c.image).Output()
	c.nqn, c.device = target.SubsystemNQN, strings.TrimSpace(string(output))
	return err
}

func (c *loopConnector) Device(context.Context, string) (string, error) { return c.device, nil }

func (c *loopConnector) Connections(context.Context, string) ([]nvme.Connection, error) {
	if c.device == "" {
		return nil, nil
	}
	return []nvme.Connection{{SubsystemNQN: c.nqn, Device: c.device, State: stateLive}}, nil
}

func (c *loopConnector) Rescan(ctx context.Context, _ string) error {
	return exec.CommandContext(ctx, "losetup", "--set-capacity", c.device).Run()
}

func (c *loopConnector) Disconnect(ctx context.Context, _ string) error {
	if c.device == "" {
		return nil
	}
	device := c.device
	c.device = ""
	return exec.CommandContext(ctx, "losetup", "--detach", device).Run()
}

// needRoot skips a test that mounts for real where that isn't possible.
func needRoot(t *testing.T, commands ...string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("mounting needs root")
	}
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		t.Skipf("no loop devices here: %v", err)
	}
	for _, command := range commands {
		if _, err := exec.LookPath(command); err != nil {
			t.Skipf("a command is missing: %v", err)
		}
	}
}

// newRealWorld is a node on this machine's kernel, with loop devices for namespaces.
func newRealWorld(t *testing.T, commands ...string) (*nodeWorld, *loopConnector) {
	t.Helper()
	needRoot(t, append(commands, "losetup", "blkid", "wipefs", "mount", "umount")...)
	w := newNodeWorld(t)
	mounts.ShareFor(t, w.folder)
	loop := &loopConnector{image: filepath.Join(w.folder, "volume.img")}
	if err := os.WriteFile(loop.image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(loop.image, realSize); err != nil {
		t.Fatal(err)
	}
	var err error
	w.Service, err = New(Config{NodeName: "worker-1", MachineIdentity: "machine-1", MaxVolumes: 7}, loop, mount.NewWithoutSystemd(""), utilexec.New(), &fakeNodeObserver{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, path := range []string{w.target, w.target, w.staging, w.staging} {
			_ = exec.CommandContext(context.WithoutCancel(t.Context()), "umount", "--quiet", "--lazy", path).Run()
		}
		_ = loop.Disconnect(context.WithoutCancel(t.Context()), "")
	})
	return w, loop
}

// realSize is the least that mkfs.xfs takes, and a bit, in bytes.
const realSize = 320 << 20

// TestRealFilesystem formats, mounts, grows, unmounts and mounts again with the commands and the kernel that a node
// has.
func TestRealFilesystem(t *testing.T) {
	for kind, commands := range map[string][]string{"ext4": {"mkfs.ext4", "e2fsck", "resize2fs"}, "xfs": {"mkfs.xfs", "xfs_growfs"}} {
		t.Run(kind, func(t *testing.T) {
			w, loop := newRealWorld(t, commands...)
			stage, publish := w.stageRequest(t, epochA), w.publishRequest(t, epochA)
			stage.VolumeCapability, publish.VolumeCapability = requests.Writer(kind, "noatime"), requests.Writer(kind, "noatime")
			w.liveOnce(t, stage, publish, func() {
				if err := os.WriteFile(filepath.Join(w.target, "file"), []byte("precious"), 0o600); err != nil {
					t.Errorf("write through the published path: %v", err)
				}
				if kind == "ext4" && !mayGrowExt4(t) {
					return
				}
				small := w.totalBytes(t)
				w.growReal(t, loop, 2*realSize)
				if large := w.totalBytes(t); large < small+realSize/2 {
					t.Errorf("filesystem of %d bytes has %d after the device doubled", small, large)
				}
			})
			if err := os.Truncate(loop.image, 3*realSize); err != nil {
				t.Fatal(err)
			}
			publish.Readonly = true
			w.liveOnce(t, stage, publish, func() {
				got, err := os.ReadFile(filepath.Join(w.target, "file"))
				if err != nil || string(got) != "precious" {
					t.Errorf("read back %q, %v, want what was written before", got, err)
				}
				if err := os.WriteFile(filepath.Join(w.target, "file"), []byte("x"), 0o600); err == nil {
					t.Error("write to a read-only publication = success, want an error")
				}
				if got := w.totalBytes(t); got < 5*realSize/2 {
					t.Errorf("filesystem has %d bytes on a device that was %d when it was staged", got, 3*realSize)
				}
				if got := w.reasons(t); len(got) != 0 {
					t.Errorf("health: %v, want nothing", got)
				}
			})
		})
	}
}

// mayGrowExt4 tells whether this process has CAP_SYS_RESOURCE, without which ext4 refuses to grow while it is mounted.
func mayGrowExt4(t *testing.T) bool {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, effective, _ := strings.Cut(string(status), "CapEff:\t")
	effective, _, _ = strings.Cut(effective, "\n")
	capabilities, err := strconv.ParseUint(effective, 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	if capabilities>>unix.CAP_SYS_RESOURCE&1 == 0 {
		t.Log("growing a mounted ext4 is left out: this process has no CAP_SYS_RESOURCE")
		return false
	}
	return true
}

func (w *nodeWorld) totalBytes(t *testing.T) int64 {
	t.Helper()
	response, err := w.NodeGetVolumeStats(t.Context(), &csi.NodeGetVolumeStatsRequest{VolumeId: testVolume, VolumePath: w.target})
	if err != nil {
		t.Fatalf("stats: %v", err)
	}
	return response.GetUsage()[0].GetTotal()
}

// growReal makes the image larger and tells the node, twice.
func (w *nodeWorld) growReal(t *testing.T, loop *loopConnector, size int64) {
	t.Helper()
	if err := os.Truncate(loop.image, size); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		response, err := w.NodeExpandVolume(t.Context(), w.expandRequest(w.target, size))
		if err != nil || response.GetCapacityBytes() != size {
			t.Errorf("expand: %v, %v, want %d bytes", response, err, size)
		}
	}
}

// kubelet's folder may be visible at a second path, as minikube has it, or a pod with the host's root. Each mount shows up
// there, too, and is one mount all the same.
func TestRealFolderThatIsVisibleTwice(t *testing.T) {
	for name, flags := range map[string][]string{"peer": nil, "gets mounts only": {"--make-rslave"}} {
		t.Run(name, func(t *testing.T) {
			w, _ := newRealWorld(t, "mkfs.ext4", "e2fsck", "resize2fs")
			view := t.TempDir()
			run := func(arguments ...string) {
				if output, err := exec.CommandContext(context.WithoutCancel(t.Context()), arguments[0], arguments[1:]...).CombinedOutput(); err != nil {
					t.Fatalf("%v: %v: %s", arguments, err, output)
				}
			}
			run("mount", "--bind", w.folder, view)
			t.Cleanup(func() { run("umount", "--recursive", "--lazy", view) })
			for _, flag := range flags {
				run("mount", flag, view)
			}
			stage, publish := w.stageRequest(t, epochA), w.publishRequest(t, epochA)
			onePod := requests.Writer("ext4")
			onePod.AccessMode.Mode = csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER
			stage.VolumeCapability, publish.VolumeCapability = onePod, onePod
			w.liveOnce(t, stage, publish, func() {
				elsewhere := proto.Clone(publish).(*csi.NodePublishVolumeRequest)
				elsewhere.TargetPath += "-of-another-pod"
				if _, err := w.NodePublishVolume(t.Context(), elsewhere); !errors.Is(err, failure.ErrInUse) {
					t.Errorf("publish to a second pod: got %v, want ErrInUse", err)
				}
			})
			if table, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(table), view+"/") {
				t.Errorf("something is left in the second view (%v)", err)
			}
		})
	}
}

// kubelet has named staging paths in another way before. A volume that is staged at two of them is disconnected with the last.
func TestRealVolumeThatIsStagedTwice(t *testing.T) {
	w, loop := newRealWorld(t, "mkfs.ext4", "e2fsck", "resize2fs")
	first, second := w.stageRequest(t, epochA), w.stageRequest(t, epochA)
	second.StagingTargetPath = filepath.Join(w.folder, "another", filepath.Base(w.staging))
	if err := os.MkdirAll(second.GetStagingTargetPath(), 0o750); err != nil {
		t.Fatal(err)
	}
	for _, request := range []*csi.NodeStageVolumeRequest{first, second} {
		if _, err := w.NodeStageVolume(t.Context(), request); err != nil {
			t.Fatal(err)
		}
	}
	for i, path := range []string{first.GetStagingTargetPath(), first.GetStagingTargetPath(), second.GetStagingTargetPath()} {
		if _, err := w.NodeUnstageVolume(t.Context(), &csi.NodeUnstageVolumeRequest{VolumeId: testVolume, StagingTargetPath: path}); err != nil {
			t.Errorf("unstage at %s: %v", path, err)
		}
		if connected, last := loop.device != "", i == 2; connected == last {
			t.Errorf("after call %d: connected: %t", i+1, connected)
		}
	}
}

// The real mount table says it as the fake one does.
func TestRealFolderThatIsNotShared(t *testing.T) {
	w, loop := newRealWorld(t)
	if err := w.CheckFolder(w.folder); err != nil {
		t.Errorf("shared: %v", err)
	}
	if output, err := exec.CommandContext(t.Context(), "mount", "--make-private", w.folder).CombinedOutput(); err != nil {
		t.Fatalf("make the folder private: %v: %s", err, output)
	}
	if err := w.CheckFolder(w.folder); !errors.Is(err, failure.ErrNotShared) {
		t.Errorf("private: %v, want %v", err, failure.ErrNotShared)
	}
	if _, err := w.NodeStageVolume(t.Context(), w.stageRequest(t, epochA)); !errors.Is(err, failure.ErrNotShared) || loop.device != "" {
		t.Errorf("stage: %v with device %q, want %v and none", err, loop.device, failure.ErrNotShared)
	}
}

func TestRealBlockVolume(t *testing.T) {
	w, loop := newRealWorld(t)
	stage, publish := w.blockStage(t, oneWriter), w.blockPublish(t, oneWriter)
	w.liveOnce(t, stage, publish, func() {
		if err := writeAt(w.target, 4096, "precious"); err != nil {
			t.Errorf("write through the published node: %v", err)
		}
		if got := w.totalBytes(t); got != realSize {
			t.Errorf("size = %d, want %d", got, realSize)
		}
		w.growReal(t, loop, 2*realSize)
		if got := w.totalBytes(t); got != 2*realSize {
			t.Errorf("size after growing = %d, want %d", got, 2*realSize)
		}
		if got := w.reasons(t); len(got) != 0 {
			t.Errorf("health: %v, want nothing", got)
		}
	})
	stage, publish = w.blockStage(t, oneReader), w.blockPublish(t, oneReader)
	w.liveOnce(t, stage, publish, func() {
		got := make([]byte, 8)
		file, err := os.Open(w.target)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = file.Close() }()
		if _, err := file.ReadAt(got, 4096); err != nil || string(got) != "precious" {
			t.Errorf("read back %q, %v, want what was written before", got, err)
		}
		if err := writeAt(w.target, 4096, "spoilt"); err == nil {
			t.Error("write to a block volume that is to be read = success, want an error")
		}
	})
	w.liveOnce(t, w.blockStage(t, oneWriter), w.blockPublish(t, oneWriter), func() {
		if err := writeAt(w.target, 4096, "precious"); err != nil {
			t.Errorf("write after a stage that only read: %v", err)
		}
	})
}

// What is mounted is told by the device's number. A second loop device stands for what a reconnect brings.
func TestRealDeviceIsReplaced(t *testing.T) {
	for name, requests := range map[string]func(*nodeWorld) (*csi.NodeStageVolumeRequest, *csi.NodePublishVolumeRequest){
		"filesystem": func(w *nodeWorld) (*csi.NodeStageVolumeRequest, *csi.NodePublishVolumeRequest) {
			return w.stageRequest(w.t, epochA), w.publishRequest(w.t, epochA)
		},
		"block": func(w *nodeWorld) (*csi.NodeStageVolumeRequest, *csi.NodePublishVolumeRequest) {
			return w.blockStage(w.t, oneWriter), w.blockPublish(w.t, oneWriter)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, loop := newRealWorld(t, "mkfs.ext4", "e2fsck", "resize2fs")
			stage, publish := requests(w)
			if _, err := w.NodeStageVolume(t.Context(), stage); err != nil {
				t.Fatal(err)
			}
			if _, err := w.NodePublishVolume(t.Context(), publish); err != nil {
				t.Fatal(err)
			}
			old := deviceNumberOf(t, w, w.target)
			dead := &loopConnector{device: loop.device}
			t.Cleanup(func() { _ = dead.Disconnect(context.WithoutCancel(t.Context()), "") })
			// The copy, not the image itself: two mounts of one image destroy it.
			loop.device, loop.image = "", loop.image+".copy"
			if output, err := exec.CommandContext(t.Context(), "sh", "-c", "sync && cp --sparse=always "+strings.TrimSuffix(loop.image, ".copy")+" "+loop.image).CombinedOutput(); err != nil {
				t.Fatalf("copy: %v: %s", err, output)
			}
			if _, err := w.NodePublishVolume(t.Context(), publish); err != nil {
				t.Fatalf("publish: %v", err)
			}
			if got := deviceNumberOf(t, w, w.target); got == old {
				t.Errorf("published is still device %d", got)
			}
			if got := w.reasons(t); len(got) != 0 {
				t.Errorf("health: %v, want nothing", got)
			}
			if err := w.unpublish(t); err != nil {
				t.Error(err)
			}
			if err := w.unstage(t); err != nil {
				t.Error(err)
			}
		})
	}
}

// liveOnce takes the volume through stage, publish, use, unpublish and unstage, each of them twice.
func (w *nodeWorld) liveOnce(t *testing.T, stage *csi.NodeStageVolumeRequest, publish *csi.NodePublishVolumeRequest, use func()) {
	t.Helper()
	for range 2 {
		if _, err := w.NodeStageVolume(t.Context(), stage); err != nil {
			t.Fatalf("stage: %v", err)
		}
	}
	for range 2 {
		if _, err := w.NodePublishVolume(t.Context(), publish); err != nil {
			t.Fatalf("publish: %v", err)
		}
	}
	use()
	if got := failure.Code(w.unstage(t)); got != codes.FailedPrecondition {
		t.Errorf("unstage while published: %v, want FailedPrecondition", got)
	}
	for range 2 {
		if err := w.unpublish(t); err != nil {
			t.Fatalf("unpublish: %v", err)
		}
	}
	for range 2 {
		if err := w.unstage(t); err != nil {
			t.Fatalf("unstage: %v", err)
		}
	}
}
