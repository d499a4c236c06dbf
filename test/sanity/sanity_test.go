package sanity

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kubernetes-csi/csi-test/v5/pkg/sanity"
	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/ginkgo/v2/types"
	"github.com/onsi/gomega"
	"k8s.io/mount-utils"
	utilexec "k8s.io/utils/exec"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/controller"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/node"
	"git.srvlab.io/whiskey/rds-csi-driver/test/mounts"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim"
	"git.srvlab.io/whiskey/rds-csi-driver/test/simtest"
)

func TestSanity(t *testing.T) {
	backend := newBackend(t)
	config := sanity.NewTestConfig()
	config.Address = "unix://" + serve(t, backend)
	folder := t.TempDir()
	if !slices.Contains(backend.skip, nodeService) {
		mounts.ShareFor(t, folder)
	}
	config.TargetPath = filepath.Join(folder, "target")
	config.StagingPath = filepath.Join(folder, "staging")
	config.TestVolumeParameters = map[string]string{"pool": simtest.Pool}
	config.TestVolumeSize = 1 << 30
	suite := sanity.GinkgoTest(&config)
	gomega.RegisterFailHandler(ginkgo.Fail)
	suiteConfig, reporterConfig := ginkgo.GinkgoConfiguration()
	suiteConfig.SkipStrings = backend.skip
	ginkgo.ReportAfterSuite("left out", func(report ginkgo.Report) { judgeSkipped(t, report, backend.skip) })
	ginkgo.RunSpecs(t, "csi-sanity", suiteConfig, reporterConfig)
	suite.Finalize()
}

// absent are words of the specifications that don't apply, because they are about what the driver doesn't offer or, in the
// last, wasn't finished by the suite's authors. docs/csi-sanity.md says why.
func absent() []string {
	return []string{
		"napshot", "from an existing source volume", "volume source", "ModifyVolume", "GroupController",
		"NodeGetStorageHealth", "volume attribute class", "max attach limit", "volume limit", "volume is already published", "should detect volumes",
	}
}

// judgeSkipped prints what didn't run, and fails for what should have.
func judgeSkipped(t *testing.T, report ginkgo.Report, also []string) {
	t.Helper()
	for _, spec := range report.SpecReports {
		if !spec.State.Is(types.SpecStateSkipped | types.SpecStatePending) {
			continue
		}
		name := spec.FullText()
		fmt.Println("left out:", name)
		if !slices.ContainsFunc(append(absent(), also...), func(word string) bool { return strings.Contains(name, word) }) {
			t.Errorf("left out without a reason: %s", name)
		}
	}
}

// unobserved is a node that nobody watches.
type unobserved struct{}

func (unobserved) CountConnectionLost() {}
func (unobserved) CountReconnect(error) {}

// serve runs driver and simulator until the test ends and returns the driver's socket.
func serve(t *testing.T, backend *backend) string {
	t.Helper()
	simulator, appliance := simtest.Start(t, func(o *sim.Options) { o.Exports.Kernel = backend.kernel })
	backend.simulator = simulator
	config := controller.Config{
		ClusterID: simtest.ClusterID, Directory: "rds-csi", Address: "127.0.0.1", Port: 4420, GracePeriod: 30 * time.Second,
		ExpandPublished: true,
	}
	observer := controller.Observer{Decided: func(attach.Verdict) {}, HandedOff: func() {}, Note: func(attach.Note) {}, Restored: func(attach.RestoreReason) {}}
	service, err := controller.New(config, simtest.Client(t, appliance), attach.RecordNodes{}, observer)
	if err != nil {
		t.Fatal(err)
	}
	nodeSide, err := node.New(node.Config{NodeName: "node-a", MachineIdentity: machine, MaxVolumes: 128}, backend.connector, mount.NewWithoutSystemd(""), utilexec.New(), unobserved{})
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), "csi.sock")
	identity := csi.NewControllerIdentity("test", func() bool { return true }, config.Expansion())
	server, err := csi.NewServer("unix://"+socket, csi.Services{Identity: identity, Controller: service, Node: nodeSide}, func(string, string, time.Duration) {})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return socket
}
