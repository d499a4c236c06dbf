package app

import (
	"context"

	"k8s.io/klog/v2"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
)

// connectAndServe serves the node service with the NVMe initiator of this machine's kernel. If the kernel can't connect
// yet, that is logged at once, and staging volumes fails until it can.
func connectAndServe(ctx context.Context, options *NodeOptions) error {
	identity, err := options.MachineIdentity()
	if err != nil {
		return err
	}
	host := nvme.HostOf(identity)
	initiator := nvme.New(nvme.Config{Host: host})
	klog.FromContext(ctx).Info("Connecting with the kernel's initiator", "hostNQN", host.NQN, "hostID", host.ID)
	if err := initiator.Ready(); err != nil {
		klog.FromContext(ctx).Error(err, "No volume can be connected yet")
	}
	return RunNode(ctx, *options, initiator)
}
