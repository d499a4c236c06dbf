package cluster

import (
	"context"
	"errors"
	"strings"
)

// Upgrade replaces every pod of the driver as rolling updates do: one after the other, and each ends before its successor
// begins. Kubelets go on, and so do devices and mounts.
func (c *Cluster) Upgrade(ctx context.Context) error {
	for replica := range c.controllers {
		if err := errors.Join(c.endReplica(replica), c.startReplica(ctx, replica)); err != nil {
			return err
		}
	}
	for _, node := range c.nodes {
		// A sidecar ends after the container that it serves.
		if err := errors.Join(c.end(node.process("node")), c.end(node.process("registrar"))); err != nil {
			return err
		}
		p, err := c.newPod(ctx, nodeWorkload, node.process(nodeWorkload), node.Name, c.folder.kubeletRoot(node.Name))
		if err != nil {
			return err
		}
		if err := p.startNodePlugin(ctx, node); err != nil {
			return err
		}
	}
	c.progress("every pod of the driver was replaced, one after the other")
	return nil
}

func (c *Cluster) endReplica(replica int) error {
	_, pod, err := c.pod(controllerWorkload)
	if err != nil {
		return err
	}
	for _, container := range pod.Spec.Containers {
		err = errors.Join(err, c.end(replicaProcess(container.Name, replica)))
	}
	return err
}

// end asks a process to end, and ends it if it doesn't.
func (c *Cluster) end(name string) error {
	r, err := c.folder.ledger().last(name)
	if err != nil {
		return err
	}
	return r.end(askedFor, killedFor)
}

// Uninstall ends the driver's pods and removes the objects of the manifests, in that order, as their removal would.
func (c *Cluster) Uninstall(ctx context.Context) error {
	for replica := range c.controllers {
		if err := c.endReplica(replica); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, applyWithin)
	defer cancel()
	_, err := c.kubectl(ctx, nil, "delete", "--ignore-not-found", "-k", c.folder.path("manifests"))
	return err
}

// Leftovers returns the names of what is left in the cluster: objects of the manifests, Leases of the driver and its sidecars,
// and volumes and attachments, on which finalizers would be.
func (c *Cluster) Leftovers(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	var left []string
	for _, query := range [][]string{
		{"namespaces,clusterroles,clusterrolebindings,csidrivers,storageclasses", "--selector", "app.kubernetes.io/part-of=rds-csi"},
		{"persistentvolumes,volumeattachments"},
		{"leases,secrets,configmaps", "--namespace", driverNamespace},
	} {
		names, err := c.kubectl(ctx, nil, append([]string{"get", "--output", "name"}, query...)...)
		if err != nil {
			return nil, err
		}
		left = append(left, strings.Fields(string(names))...)
	}
	return left, nil
}
