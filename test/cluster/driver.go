package cluster

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"net/http"

	"golang.org/x/crypto/ssh"
)

const (
	driverNamespace = "rds-csi"
	// controllerAccount is the ServiceAccount of the controller's pod, that is of the driver and its sidecars.
	controllerAccount = "rds-csi-controller"
	// The names of the driver's Deployment and DaemonSet, and of its container in the pods of both.
	controllerWorkload = "rds-csi-controller"
	nodeWorkload       = "rds-csi-node"
	driverContainer    = "rds-csi"
	registrarContainer = "node-driver-registrar"
	applianceUser      = "csi"
	pool               = "raid10=100GiB"
	applyWithin        = readyWithin
)

// startAppliance runs the simulator and gives the driver's key to it.
func (c *Cluster) startAppliance(ctx context.Context) error {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return fmt.Errorf("make the driver's SSH key: %w", err)
	}
	block, err := ssh.MarshalPrivateKey(private, "rds-csi")
	if err != nil {
		return fmt.Errorf("encode the driver's SSH key: %w", err)
	}
	authorized, err := ssh.NewPublicKey(public)
	if err != nil {
		return fmt.Errorf("encode the driver's SSH key: %w", err)
	}
	err = writeFiles(c.folder.path("pki"), map[string][]byte{"rds.key": pem.EncodeToMemory(block), "rds.pub": ssh.MarshalAuthorizedKey(authorized)})
	if err != nil {
		return err
	}
	simulator, err := c.folder.start(ctx, command{name: "rds-sim", path: c.program("rds-sim"), args: []string{
		"--listen", c.addresses.applianceSSH, "--http", c.addresses.applianceHTTP, "--state", c.folder.path("appliance"),
		"--pool", pool, "--user", applianceUser, "--authorized-key", c.folder.path("pki", "rds.pub"),
		// An appliance that started just now isn't believed when it says that something is absent.
		"--uptime", "24h",
		// A node on a busy machine gets time to cut its device off; the wait ends as soon as it has.
		"--revoke-wait", "10s",
	}})
	if err != nil {
		return err
	}
	if err := simulator.await(ctx, answers(http.DefaultClient, c.Appliance()+"/v1/healthz")); err != nil {
		return err
	}
	c.progress("appliance simulator answers, ssh at %s", c.addresses.applianceSSH)
	return nil
}

// startDriver runs what the controllers' pods run in a cluster: each the driver and the sidecars on its socket, all as the
// pods' ServiceAccount.
func (c *Cluster) startDriver(ctx context.Context) error {
	_, pod, err := c.pod(controllerWorkload)
	if err != nil {
		return err
	}
	c.controllers = make([]string, pod.Replicas)
	for replica := range c.controllers {
		if err := c.startReplica(ctx, replica); err != nil {
			return err
		}
	}
	c.progress("%d controllers and their sidecars run", pod.Replicas)
	return nil
}

// replicaProcess is the name of the process of a container of a controller's pod.
func replicaProcess(container string, replica int) string {
	if container == driverContainer {
		container = controllerWorkload
	}
	return fmt.Sprintf("%s-%d", container, replica+1)
}

// startReplica runs one pod. It returns when each of its containers is ready and alive.
func (c *Cluster) startReplica(ctx context.Context, replica int) error {
	p, err := c.newPod(ctx, controllerWorkload, replicaProcess(driverContainer, replica), "", "")
	if err != nil {
		return err
	}
	if c.controllers[replica], err = p.url(driverContainer); err != nil {
		return err
	}
	for _, container := range p.pod.Spec.Containers {
		program := c.harness(container.Name)
		if container.Name == driverContainer {
			program = c.program("rds-csi")
		}
		started, err := p.start(ctx, container.Name, replicaProcess(container.Name, replica), program, p.asAccount()...)
		if err != nil {
			return err
		}
		if err := p.await(ctx, container.Name, started); err != nil {
			return err
		}
	}
	return nil
}

// StartDriver runs the driver's container of a Deployment once more, without sidecars, with these flags on top. It returns
// the URL of its HTTP interface, where /metrics is, when it is ready. Names are unique in a run.
func (c *Cluster) StartDriver(ctx context.Context, workload, name string, flags ...string) (string, error) {
	p, err := c.newPod(ctx, workload, name, "", "")
	if err != nil {
		return "", err
	}
	url, err := p.url(driverContainer)
	if err != nil {
		return "", err
	}
	started, err := p.start(ctx, driverContainer, name, c.program("rds-csi"), append(p.asAccount(), flags...)...)
	if err != nil {
		return "", err
	}
	return url, p.await(ctx, driverContainer, started)
}

// KillDriver ends a driver's process that was started under this name with SIGKILL.
func (c *Cluster) KillDriver(name string) error { return c.kill(name) }
