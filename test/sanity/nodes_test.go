package sanity

import (
	"os"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/node"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/test/guest/world"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/export"
)

// machine is the node's.
const machine = "machine-a"

// nodeService is the word that the node service's specifications have in common.
const nodeService = "Node Service"

// backend is how the node reaches what the simulator exports.
type backend struct {
	connector node.Connector
	// kernel is the real target, if there is one.
	kernel export.Kernel
	// simulator is set once it runs.
	simulator *sim.Sim
	// skip are words of specifications that can't be tried here.
	skip []string
}

func newBackend(t *testing.T) *backend {
	t.Helper()
	if world.InGuest() {
		return &backend{kernel: world.Export(t), connector: nvme.New(nvme.Config{Host: nvme.HostOf(machine)})}
	}
	b := &backend{}
	b.connector = &loops{backend: b, attached: map[string]string{}}
	if _, err := os.Stat("/dev/loop-control"); err != nil || os.Getuid() != 0 {
		t.Log("the node service's specifications are left out: they need root and loop devices")
		b.skip = []string{nodeService}
	}
	return b
}
