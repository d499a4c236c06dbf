package app

import (
	"context"
	"errors"
	"fmt"
	"os"

	"k8s.io/klog/v2"
	utilexec "k8s.io/utils/exec"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/node/host"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
)

// errOwnProcesses says that the plugin is process 1. It can't see then who uses a volume, nor whether it has the host's network.
var errOwnProcesses = errors.New("this process has a PID namespace of its own, and would take volumes for unused that other processes have open: set hostPID: true for the node plugin's pod")

// connectAndServe serves the node service with the NVMe initiator of this machine's kernel. It returns an error if the kernel
// can't connect, if a command is missing, or if this process doesn't see the host's processes, network, devices or initiator.
// It doesn't wait for a module: a pod that ends shows why, and kubelet starts it again. Nor could it load one: that takes CAP_SYS_MODULE.
func connectAndServe(ctx context.Context, options *NodeOptions) error {
	if os.Getpid() == 1 {
		return errOwnProcesses
	}
	identity, err := options.MachineIdentity()
	if err != nil {
		return err
	}
	presented := nvme.HostOf(identity)
	initiator := nvme.New(nvme.Config{Host: presented})
	klog.FromContext(ctx).Info("Connecting with the kernel's initiator", "hostNQN", presented.NQN, "hostID", presented.ID)
	if lacking := host.Lacking(host.Capabilities()...); len(lacking) > 0 {
		klog.FromContext(ctx).Error(nil, "This process lacks capabilities, and what takes them will fail (docs/nodes.md); run it in a privileged container", "lacking", fmt.Sprint(lacking))
	}
	machine := host.New(host.Linux{}, nil, utilexec.New())
	if err := machine.CheckTools(); err != nil {
		return err
	}
	if err := machine.CheckDev(); err != nil {
		return err
	}
	if err := initiator.Ready(); err != nil {
		return err
	}
	return RunNode(ctx, *options, initiator)
}
