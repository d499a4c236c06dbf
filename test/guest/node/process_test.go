package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"git.srvlab.io/whiskey/rds-csi-driver/cmd/rds-csi/app"
	drivercsi "git.srvlab.io/whiskey/rds-csi-driver/pkg/csi"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/node/host"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/test/guest/world"
)

// What a process of this program finds in its environment that is to be a node plugin: the path of its socket, and the
// numbers of its capabilities, which it has dropped the others of in its second life.
const (
	socketVariable  = "RDS_CSI_TEST_SOCKET"
	keptVariable    = "RDS_CSI_TEST_CAPABILITIES"
	droppedVariable = "RDS_CSI_TEST_DROPPED"
)

func TestMain(m *testing.M) {
	if isProduct() {
		os.Exit(app.Main("rds-csi", os.Args[1:]))
	}
	if socket := os.Getenv(socketVariable); socket != "" {
		fmt.Fprintln(os.Stderr, servePlugin(socket))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// servePlugin serves the node service at the socket, with the capabilities that the environment names and no other. It
// returns only if it fails.
func servePlugin(socket string) error {
	var kept []host.Capability
	for word := range strings.FieldsSeq(os.Getenv(keptVariable)) {
		var c host.Capability
		if _, err := fmt.Sscan(word, (*int)(&c)); err != nil {
			return err
		}
		kept = append(kept, c)
	}
	if os.Getenv(droppedVariable) == "" {
		return dropOthers(kept)
	}
	initiator := nvme.New(nvme.Config{Host: nvme.HostOf("machine-a")})
	service, err := newService(initiator, &rig{})
	if err != nil {
		return err
	}
	// What the driver does when it starts.
	linux := host.New(host.Linux{}, nil, nil)
	if err := errors.Join(linux.CheckDev(), initiator.Ready(), onlyHas(kept)); err != nil {
		return err
	}
	services := drivercsi.Services{Identity: drivercsi.NewNodeIdentity("test"), Node: service}
	server, err := drivercsi.NewServer("unix://"+socket, services, func(string, string, time.Duration) {})
	if err != nil {
		return err
	}
	return server.Run(context.Background())
}

// everyCapability lists what the kernel knows.
func everyCapability() []host.Capability {
	var all []host.Capability
	for c := range host.Capability(unix.CAP_LAST_CAP + 1) {
		all = append(all, c)
	}
	return all
}

// dropOthers starts this program anew, as root that has these capabilities, as a container's is started.
func dropOthers(kept []host.Capability) error {
	runtime.LockOSThread()
	for _, c := range everyCapability() {
		if slices.Contains(kept, c) {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0); err != nil {
			return fmt.Errorf("drop %s: %w", c, err)
		}
	}
	return syscall.Exec("/proc/self/exe", os.Args, append(os.Environ(), droppedVariable+"=1"))
}

// onlyHas returns an error unless these are the capabilities that this process has.
func onlyHas(kept []host.Capability) error {
	lacking := host.Lacking(everyCapability()...)
	for _, c := range everyCapability() {
		if slices.Contains(kept, c) == slices.Contains(lacking, c) {
			return fmt.Errorf("the capabilities aren't %v: this process lacks %v", kept, lacking)
		}
	}
	return nil
}

// plugin is a node plugin in a process of its own.
type plugin struct {
	csi.UnimplementedNodeServer

	node csi.NodeClient
}

func (p plugin) NodeStageVolume(ctx context.Context, request *csi.NodeStageVolumeRequest) (*csi.NodeStageVolumeResponse, error) {
	return p.node.NodeStageVolume(ctx, request)
}

func (p plugin) NodePublishVolume(ctx context.Context, request *csi.NodePublishVolumeRequest) (*csi.NodePublishVolumeResponse, error) {
	return p.node.NodePublishVolume(ctx, request)
}

func (p plugin) NodeExpandVolume(ctx context.Context, request *csi.NodeExpandVolumeRequest) (*csi.NodeExpandVolumeResponse, error) {
	return p.node.NodeExpandVolume(ctx, request)
}

func (p plugin) NodeGetVolumeStats(ctx context.Context, request *csi.NodeGetVolumeStatsRequest) (*csi.NodeGetVolumeStatsResponse, error) {
	return p.node.NodeGetVolumeStats(ctx, request)
}

func (p plugin) NodeGetVolumeHealth(ctx context.Context, request *csi.NodeGetVolumeHealthRequest) (*csi.NodeGetVolumeHealthResponse, error) {
	return p.node.NodeGetVolumeHealth(ctx, request)
}

func (p plugin) NodeUnpublishVolume(ctx context.Context, request *csi.NodeUnpublishVolumeRequest) (*csi.NodeUnpublishVolumeResponse, error) {
	return p.node.NodeUnpublishVolume(ctx, request)
}

func (p plugin) NodeUnstageVolume(ctx context.Context, request *csi.NodeUnstageVolumeRequest) (*csi.NodeUnstageVolumeResponse, error) {
	return p.node.NodeUnstageVolume(ctx, request)
}

// startPlugin starts a node plugin that has these capabilities only, and ends with the test.
func startPlugin(t *testing.T, kept []host.Capability) plugin {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "csi.sock")
	process := exec.CommandContext(t.Context(), "/proc/self/exe")
	numbers := strings.Trim(strings.ReplaceAll(fmt.Sprintf("%d", kept), ",", " "), "[]")
	process.Env = append(os.Environ(), socketVariable+"="+socket, keptVariable+"="+numbers)
	process.Stderr = os.Stderr
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = process.Process.Kill()
		_ = process.Wait()
	})
	return dialPlugin(t, socket)
}

// dialPlugin is the node plugin at the socket, once it serves.
func dialPlugin(t *testing.T, socket string) plugin {
	t.Helper()
	world.Eventually(t, "the plugin serves", func() bool {
		_, err := os.Stat(socket)
		return err == nil
	})
	connection, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	p := plugin{node: csi.NewNodeClient(connection)}
	ctx, cancel := context.WithTimeout(t.Context(), world.Patience)
	defer cancel()
	// What registers a plugin asks for these. The socket is there a moment before it takes calls.
	_, err = csi.NewIdentityClient(connection).Probe(ctx, &csi.ProbeRequest{}, grpc.WaitForReady(true))
	_, errInfo := p.node.NodeGetInfo(ctx, &csi.NodeGetInfoRequest{})
	if err := errors.Join(err, errInfo); err != nil {
		t.Fatal(err)
	}
	return p
}
