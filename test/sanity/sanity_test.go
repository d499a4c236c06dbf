package sanity

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/kubernetes-csi/csi-test/v5/pkg/sanity"
	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/gomega"
	"k8s.io/mount-utils"
	utilexec "k8s.io/utils/exec"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/test/simtest"
)

// noTarget is the connector of a node that reaches no target: the controller's tests only ask the node who it is.
type noTarget struct{}

var errNoTarget = errors.New("this node reaches no target")

func (noTarget) Connect(context.Context, nvme.Target) (string, error) { return "", errNoTarget }

func (noTarget) Connections(context.Context, string) ([]nvme.Connection, error) { return nil, nil }

func (noTarget) Disconnect(context.Context, string) error { return nil }

func TestSanity(t *testing.T) {
	endpoint := "unix://" + serve(t)
	config := sanity.NewTestConfig()
	config.Address = endpoint
	config.TargetPath = filepath.Join(t.TempDir(), "target")
	config.StagingPath = filepath.Join(t.TempDir(), "staging")
	config.TestVolumeParameters = map[string]string{"pool": simtest.Pool}
	config.TestVolumeSize = 1 << 30
	suite := sanity.GinkgoTest(&config)
	gomega.RegisterFailHandler(ginkgo.Fail)
	suiteConfig, reporterConfig := ginkgo.GinkgoConfiguration()
	// What stages and publishes on a node needs a target; the node service has tests of its own.
	suiteConfig.SkipStrings = []string{"Node Service"}
	ginkgo.RunSpecs(t, "csi-sanity", suiteConfig, reporterConfig)
	suite.Finalize()
}

// serve runs driver and simulator until the test ends and returns the driver's socket.
func serve(t *testing.T) string {
	t.Helper()
	_, appliance := simtest.Start(t)
	controller, err := csi.NewController(csi.ControllerConfig{
		ClusterID: simtest.ClusterID, Directory: "rds-csi", Address: "192.0.2.1", Port: 4420, GracePeriod: 30 * time.Second,
	}, simtest.Client(t, appliance), csi.RecordNodes{}, csi.ControllerObserver{Decided: func(attach.Verdict) {}, Note: func(attach.Note) {}})
	if err != nil {
		t.Fatal(err)
	}
	node, err := csi.NewNode(csi.NodeConfig{NodeName: "node-a", MachineIdentity: "machine-a"}, noTarget{}, mount.NewFakeMounter(nil), utilexec.New())
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), "csi.sock")
	ready := func() bool { return true }
	server, err := csi.NewServer("unix://"+socket, csi.Services{Identity: csi.NewControllerIdentity("test", ready), Controller: controller, Node: node},
		func(string, string, time.Duration) {})
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
