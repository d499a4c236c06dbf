package csi

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"k8s.io/mount-utils"
	utilexec "k8s.io/utils/exec"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
)

// loopConnector connects a loop device on one image, as a kernel would connect a namespace.
type loopConnector struct{ image, nqn, device string }

func (c *loopConnector) Connect(ctx context.Context, target nvme.Target) (string, error) {
	if c.device != "" {
		return c.device, nil
	}
	output, err := exec.CommandContext(ctx, "losetup", "--find", "--show", c.image).Output()
	c.nqn, c.device = target.SubsystemNQN, strings.TrimSpace(string(output))
	return c.device, err
}

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

// TestRealFilesystem formats, mounts, unmounts and mounts again with the commands and the kernel that a node has.
func TestRealFilesystem(t *testing.T) {
	for _, kind := range []string{"ext4", "xfs"} {
		t.Run(kind, func(t *testing.T) {
			needRoot(t, "losetup", "blkid", "mount", "umount", "mkfs."+kind)
			w := newNodeWorld(t)
			loop := &loopConnector{image: filepath.Join(w.folder, "volume.img")}
			if err := os.WriteFile(loop.image, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(loop.image, 320<<20); err != nil {
				t.Fatal(err)
			}
			var err error
			w.Node, err = NewNode(NodeConfig{NodeName: "worker-1", MachineIdentity: "machine-1", MaxVolumes: 7}, loop, mount.NewWithoutSystemd(""), utilexec.New(), &fakeNodeObserver{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				for _, path := range []string{w.target, w.staging} {
					_ = exec.CommandContext(context.WithoutCancel(t.Context()), "umount", "--quiet", "--lazy", path).Run()
				}
				_ = loop.Disconnect(context.WithoutCancel(t.Context()), "")
			})
			stage, publish := w.stageRequest(t, epochA), w.publishRequest(t, epochA)
			stage.VolumeCapability, publish.VolumeCapability = writerOf(kind, "noatime"), writerOf(kind, "noatime")
			w.liveOnce(t, stage, publish, func() {
				if err := os.WriteFile(filepath.Join(w.target, "file"), []byte("precious"), 0o600); err != nil {
					t.Errorf("write through the published path: %v", err)
				}
			})
			publish.Readonly = true
			w.liveOnce(t, stage, publish, func() {
				got, err := os.ReadFile(filepath.Join(w.target, "file"))
				if err != nil || string(got) != "precious" {
					t.Errorf("read back %q, %v, want what was written before", got, err)
				}
				if err := os.WriteFile(filepath.Join(w.target, "file"), []byte("x"), 0o600); err == nil {
					t.Error("write to a read-only publication = success, want an error")
				}
			})
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
	if got := codeOf(w.unstage(t)); got != codes.FailedPrecondition {
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

// blkid ends with the same status for an empty device and for one that it can't read.
func TestRealProbeOfUnreadableDevice(t *testing.T) {
	needRoot(t, "blkid")
	w := newNodeWorld(t)
	w.Node.commands = utilexec.New()
	found, err := w.probe(t.Context(), filepath.Join(w.folder, "absent"))
	if err == nil {
		t.Errorf("probe of an absent device = %q, nil, want an error", found)
	}
}
