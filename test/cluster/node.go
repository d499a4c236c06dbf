package cluster

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"git.srvlab.io/whiskey/rds-csi-driver/test/mounts"
)

// startNodes starts every node's processes, then waits for all of them together.
func (c *Cluster) startNodes(ctx context.Context) error {
	kubelets := make([]*process, len(c.nodes))
	for i, node := range c.nodes {
		var err error
		if kubelets[i], err = c.startNode(ctx, node); err != nil {
			return err
		}
	}
	for i, node := range c.nodes {
		if err := kubelets[i].await(ctx, func(ctx context.Context) error { return c.registered(ctx, node) }); err != nil {
			return err
		}
		c.progress("node %s is Ready and has the driver", node.Name)
	}
	return nil
}

// startNode returns the kubelet's process: the last one that the node needs, and the one that says when it's ready.
func (c *Cluster) startNode(ctx context.Context, node Node) (*process, error) {
	root := c.folder.kubeletRoot(node.Name)
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, fmt.Errorf("make the kubelet folder of node %s: %w", node.Name, err)
	}
	// On a machine without systemd, no mount is shared, and the driver would refuse to mount there.
	if err := mounts.Share(root); err != nil {
		return nil, fmt.Errorf("make the kubelet folder of node %s: %w", node.Name, err)
	}
	p, err := c.newPod(ctx, nodeWorkload, node.process(nodeWorkload), node.Name, root)
	if err != nil {
		return nil, err
	}
	if err := p.startNodePlugin(ctx, node); err != nil {
		return nil, err
	}
	return c.folder.start(ctx, command{name: node.process("kubelet"), path: c.harness("kubelet"), args: []string{
		"--kubeconfig", c.identities.file(node.process("kubelet")), "--node-name", node.Name,
		"--root-dir", root, "--machine-id", node.Machine, "--v=2",
	}})
}

// startNodePlugin runs what the node's pod of the DaemonSet runs.
func (p *runningPod) startNodePlugin(ctx context.Context, node Node) error {
	c := p.cluster
	// No process uses the volumes of this kubelet's pods, so that the driver would wait for them when it is to end.
	driver, err := p.start(ctx, driverContainer, node.process("node"), c.program("demonode"), "--machine-id", node.Machine, "--simulator", c.Appliance(), "--drain-timeout", "0")
	if err != nil {
		return err
	}
	if err := p.await(ctx, driverContainer, driver); err != nil {
		return err
	}
	_, err = p.start(ctx, registrarContainer, node.process("registrar"), c.harness("registrar"),
		"--plugin-registration-path", filepath.Join(c.folder.kubeletRoot(node.Name), "plugins_registry"))
	return err
}

// registered says what keeps the node from running pods with our volumes.
func (c *Cluster) registered(ctx context.Context, node Node) error {
	object, err := c.client.CoreV1().Nodes().Get(ctx, node.Name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("look at node %s: %w", node.Name, err)
	}
	if !slices.ContainsFunc(object.Status.Conditions, func(condition corev1.NodeCondition) bool {
		return condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue
	}) {
		return fmt.Errorf("%w: node %s", errNotReady, node.Name)
	}
	if object.Status.NodeInfo.SystemUUID != node.Machine {
		return fmt.Errorf("%w: node %s reports system UUID %q instead of %q", errNotReady, node.Name, object.Status.NodeInfo.SystemUUID, node.Machine)
	}
	csiNode, err := c.client.StorageV1().CSINodes().Get(ctx, node.Name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("look at CSINode %s: %w", node.Name, err)
	}
	if !slices.ContainsFunc(csiNode.Spec.Drivers, func(driver storagev1.CSINodeDriver) bool { return driver.Name == DriverName }) {
		return fmt.Errorf("%w: CSINode %s doesn't list %s", errNotReady, node.Name, DriverName)
	}
	return nil
}
