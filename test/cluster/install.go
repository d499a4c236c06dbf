package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"git.srvlab.io/whiskey/rds-csi-driver/test/manifests"
)

// address is an overlay's address.env.
const address = "RDS_ADDRESS=%s\nRDS_USER=%s\nNVME_ADDRESS=127.0.0.1\n"

// install does what an operator does: it copies the overlay, puts this run's appliance in there, and gives it to the API
// server. It needs the appliance.
func (c *Cluster) install(ctx context.Context) error {
	folder := c.folder.path("manifests")
	relative, err := filepath.Rel(folder, c.options.Manifests)
	if err != nil {
		return fmt.Errorf("find %s: %w", c.options.Manifests, err)
	}
	files := map[string][]byte{"address.env": fmt.Appendf(nil, address, c.addresses.applianceSSH, applianceUser)}
	for name, source := range map[string]string{
		"kustomization.yaml": filepath.Join(c.options.Manifests, "overlay", "kustomization.yaml"),
		"private-key":        c.folder.path("pki", "rds.key"),
		"known_hosts":        c.folder.path("appliance", "known_hosts"),
	} {
		if files[name], err = os.ReadFile(source); err != nil { //nolint:gosec // the repository's, and this run's own
			return fmt.Errorf("read what the manifests need: %w", err)
		}
	}
	files["kustomization.yaml"] = bytes.Replace(files["kustomization.yaml"], []byte("- ../manifests"), []byte("- "+relative), 1)
	if err := writeFiles(folder, files); err != nil {
		return err
	}
	return c.Install(ctx, folder)
}

// Install gives a kustomization to the API server, but for Deployments and DaemonSets: the API server only checks those, and
// this package runs the containers of their pods as processes. It makes a kubeconfig of each ServiceAccount that they have.
func (c *Cluster) Install(ctx context.Context, folder string) error {
	ctx, cancel := context.WithTimeout(ctx, applyWithin)
	defer cancel()
	rendering, err := c.kubectl(ctx, nil, "kustomize", folder)
	if err != nil {
		return err
	}
	rendered, err := manifests.Parse(rendering)
	if err != nil {
		return err
	}
	output, err := c.kubectl(ctx, rendered.Others, "apply", "-f", "-")
	if err != nil {
		return err
	}
	checked, err := c.kubectl(ctx, rendered.Workloads, "apply", "--dry-run=server", "-f", "-")
	if err != nil {
		return err
	}
	c.progress("%d objects of %s applied, and %d whose containers run as processes", bytes.Count(output, []byte("\n")), folder, bytes.Count(checked, []byte("\n")))
	c.rendered = append(c.rendered, rendered)
	for _, account := range rendered.Accounts() {
		if err := c.identities.account(ctx, c.client, driverNamespace, account); err != nil {
			return err
		}
	}
	return nil
}

// Check has the API server check a kustomization as it stands, and changes nothing.
func (c *Cluster) Check(ctx context.Context, folder string) error {
	_, err := c.kubectl(ctx, nil, "apply", "--dry-run=server", "-k", folder)
	return err
}

// Pod returns what a Deployment or DaemonSet makes that was installed, or [manifests.ErrMissing].
func (c *Cluster) Pod(workload string) (manifests.Pod, error) {
	_, pod, err := c.pod(workload)
	return pod, err
}

// kubectl runs the harness' kubectl as an administrator, and returns what it prints.
func (c *Cluster) kubectl(ctx context.Context, input []byte, args ...string) ([]byte, error) {
	command := exec.CommandContext(ctx, c.harness("kubectl"), //nolint:gosec // the harness exists to run the programs it was given
		append([]string{"--kubeconfig", c.Kubeconfig(), "--cache-dir", c.folder.path("kubectl-cache")}, args...)...)
	command.Stdin = bytes.NewReader(input)
	var failure strings.Builder
	command.Stderr = &failure
	output, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), errors.Join(err, context.Cause(ctx)), failure.String())
	}
	return output, nil
}

// pod returns what a Deployment or DaemonSet makes, and the manifests that it is in.
func (c *Cluster) pod(workload string) (*manifests.Rendered, manifests.Pod, error) {
	for _, rendered := range c.rendered {
		if pod, err := rendered.Pod(workload); err == nil {
			return rendered, pod, nil
		}
	}
	return nil, manifests.Pod{}, fmt.Errorf("%w workload %s", manifests.ErrMissing, workload)
}
