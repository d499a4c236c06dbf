package cluster

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"strings"

	"golang.org/x/crypto/ssh"
)

const (
	driverNamespace = "rds-csi"
	// controllerAccount is the ServiceAccount of the controller's pod, that is of the driver and its sidecars.
	controllerAccount = "rds-csi-controller"
	controllerProcess = "rds-csi-controller"
	applianceUser     = "csi"
	pool              = "raid10=100GiB"
	applyWithin       = readyWithin
)

// apply gives the manifests to the API server, and makes the controller's kubeconfig.
func (c *Cluster) apply(ctx context.Context) error {
	return c.AddAccount(ctx, c.options.Manifests, controllerAccount)
}

// AddAccount gives a kustomization to the API server with the kubectl of the harness, and makes a kubeconfig with a token
// of one of its ServiceAccounts.
func (c *Cluster) AddAccount(ctx context.Context, manifests, account string) error {
	ctx, cancel := context.WithTimeout(ctx, applyWithin)
	defer cancel()
	output, err := exec.CommandContext(ctx, c.harness("kubectl"), //nolint:gosec // the harness exists to run the programs it was given
		"--kubeconfig", c.Kubeconfig(), "--cache-dir", c.folder.path("kubectl-cache"), "apply", "-k", manifests).CombinedOutput()
	if err != nil {
		return fmt.Errorf("apply %s: %w: %s", manifests, errors.Join(err, context.Cause(ctx)), output)
	}
	c.progress("%d objects of %s applied", strings.Count(string(output), "\n"), manifests)
	return c.identities.account(ctx, c.client, driverNamespace, account)
}

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

// startDriver runs what the controller's pod runs in a cluster: the driver and the two sidecars on its socket, all as
// the pod's ServiceAccount.
func (c *Cluster) startDriver(ctx context.Context) error {
	kubeconfig, socket := c.identities.file(controllerAccount), c.folder.controllerSocket()
	if err := c.startController(ctx, controllerProcess, socket, c.addresses.controller); err != nil {
		return err
	}
	sidecar := []string{"--csi-address", socket, "--kubeconfig", kubeconfig, "--timeout", "30s", "--kube-api-qps", "100", "--kube-api-burst", "200", "--v=4"}
	for name, args := range map[string][]string{
		"csi-provisioner": {"--extra-create-metadata", "--default-fstype", "ext4"},
		"csi-attacher":    {"--worker-threads", "20"},
	} {
		if _, err := c.folder.start(ctx, command{name: name, path: c.harness(name), args: append(args, sidecar...)}); err != nil {
			return err
		}
	}
	c.progress("driver controller and its sidecars run")
	return nil
}

// StartController runs one more controller of the driver, as the pod's ServiceAccount, with these flags on top. It
// returns the URL of its HTTP interface, where /metrics is, when its caches are filled. Names are unique in a run.
func (c *Cluster) StartController(ctx context.Context, name string, flags ...string) (string, error) {
	address, err := freeAddresses(ctx, 1)
	if err != nil {
		return "", err
	}
	return "http://" + address[0], c.startController(ctx, name, c.folder.path("controller", name+".sock"), address[0], flags...)
}

// StartPodRestarter runs a pod-restarter as this ServiceAccount, with these flags on top. Otherwise it is as
// StartController is.
func (c *Cluster) StartPodRestarter(ctx context.Context, name, account string, flags ...string) (string, error) {
	address, err := freeAddresses(ctx, 1)
	if err != nil {
		return "", err
	}
	restarter, err := c.folder.start(ctx, command{name: name, path: c.program("rds-csi"), args: append([]string{
		"pod-restarter", "--kubeconfig", c.AccountKubeconfig(account), "--http-address", address[0], "--v=4",
	}, flags...)})
	if err != nil {
		return "", err
	}
	return "http://" + address[0], restarter.await(ctx, answers(http.DefaultClient, "http://"+address[0]+"/readyz"))
}

// KillController ends a controller or a pod-restarter that was started under this name with SIGKILL.
func (c *Cluster) KillController(name string) error { return c.kill(name) }

func (c *Cluster) startController(ctx context.Context, name, socket, address string, flags ...string) error {
	driver, err := c.folder.start(ctx, command{name: name, path: c.program("rds-csi"), args: append([]string{
		"controller", "--endpoint", "unix://" + socket, "--kubeconfig", c.ControllerKubeconfig(),
		"--rds-address", c.addresses.applianceSSH, "--rds-user", applianceUser,
		"--rds-private-key", c.folder.path("pki", "rds.key"), "--rds-known-hosts", c.folder.path("appliance", "known_hosts"),
		// The simulator's initiators don't speak NVMe; the address only travels to the nodes.
		"--nvme-address", "127.0.0.1", "--nvme-port", "4420", "--http-address", address, "--v=4",
	}, flags...)})
	if err != nil {
		return err
	}
	if err := driver.await(ctx, exists(socket)); err != nil {
		return err
	}
	return driver.await(ctx, answers(http.DefaultClient, "http://"+address+"/readyz"))
}
