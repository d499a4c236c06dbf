package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/uuid"
	"k8s.io/client-go/kubernetes"

	"git.srvlab.io/whiskey/rds-csi-driver/test/manifests"
)

// Options say where a run finds its programs and where it lives. All fields are needed.
type Options struct {
	// Folder is the run folder; what an ended run left in it is removed.
	Folder string
	// Harness is the folder of the programs that test/harness builds.
	Harness string
	// Programs is the folder of this repository's own programs: rds-sim, rds-csi and demonode.
	Programs string
	// Manifests is the driver's kustomization, which says what runs.
	Manifests string
	// Nodes are the names of the nodes to run.
	Nodes []string
	// Progress is told each step that was reached, as a format and its values.
	Progress func(format string, values ...any)
}

// Node is one simulated machine: a kubelet, the driver's node process and its registrar.
type Node struct {
	Name string
	// Machine is the identity that the Node reports as status.nodeInfo.systemUUID.
	Machine string
}

func (n Node) process(program string) string { return program + "-" + n.Name }

// Cluster is a running cluster.
type Cluster struct {
	folder     runFolder
	options    Options
	nodes      []Node
	addresses  addresses
	identities *identities
	client     kubernetes.Interface
	rendered   []*manifests.Rendered
	// controllers are the URLs of the controllers' HTTP interfaces.
	controllers []string
}

// addresses are host:port pairs on the loopback interface.
type addresses struct {
	etcd, etcdPeer, api, controllerManager, scheduler string
	applianceSSH, applianceHTTP                       string
}

// step is one part of bringing a cluster up.
type step func(*Cluster, context.Context) error

// Start brings a cluster up: the control plane, the appliance simulator, the objects of the manifests, the driver's
// controllers with their sidecars, and the nodes. It returns once every node has registered the driver. Every wait in it
// is bounded. If something fails or ctx ends it stops what it started; the folder with its logs stays. The processes
// live on when ctx ends after the return, and when this process does: [Stop] ends them.
func Start(ctx context.Context, options Options) (*Cluster, error) {
	return bringUp(ctx, options, programs{
		harness: []string{"etcd", "controlplane", "kubectl", "csi-provisioner", "csi-attacher", "csi-resizer", "kubelet", "registrar"},
		own:     []string{"rds-sim", "rds-csi", "demonode"},
	}, (*Cluster).startControlPlane, (*Cluster).startAppliance, (*Cluster).install, (*Cluster).startDriver, (*Cluster).startNodes)
}

// StartAPIServer brings up what the driver's controllers talk to, and nothing else: etcd, the API server, the objects of
// the manifests and the appliance simulator. No node is needed in the options. Otherwise it is as [Start] is.
func StartAPIServer(ctx context.Context, options Options) (*Cluster, error) {
	return bringUp(ctx, options, programs{
		harness: []string{"etcd", "controlplane", "kubectl"},
		own:     []string{"rds-sim", "rds-csi"},
	}, (*Cluster).writeKeys, (*Cluster).startEtcd, (*Cluster).startAPIServer, (*Cluster).startAppliance, (*Cluster).install)
}

func bringUp(ctx context.Context, options Options, needed programs, steps ...step) (*Cluster, error) {
	c, err := prepare(ctx, options, needed)
	if err != nil {
		return nil, err
	}
	if err := c.take(ctx, steps...); err != nil {
		return nil, errors.Join(err, Stop(string(c.folder)))
	}
	return c, nil
}

func (c *Cluster) take(ctx context.Context, steps ...step) error {
	for _, step := range steps {
		if err := step(c, ctx); err != nil {
			return err
		}
	}
	return nil
}

// prepare checks the options and makes the run folder. Nothing was started when it fails.
func prepare(ctx context.Context, options Options, needed programs) (*Cluster, error) {
	if err := options.complete(needed); err != nil {
		return nil, err
	}
	folder, err := resolveFolder(options.Folder)
	if err != nil {
		return nil, err
	}
	if err := folder.prepare(); err != nil {
		return nil, err
	}
	c := &Cluster{folder: folder, options: options}
	for _, name := range options.Nodes {
		c.nodes = append(c.nodes, Node{Name: name, Machine: uuid.NewString()})
	}
	return c, c.choosePorts(ctx)
}

// programs are names of programs, of the harness and of this repository.
type programs struct{ harness, own []string }

// complete makes the paths absolute and finds missing programs before anything runs.
func (o *Options) complete(programs programs) error {
	for _, path := range []*string{&o.Harness, &o.Programs, &o.Manifests} {
		absolute, err := filepath.Abs(*path)
		if err != nil {
			return fmt.Errorf("path %q: %w", *path, err)
		}
		*path = absolute
	}
	needed := map[string][]string{
		o.Harness:   programs.harness,
		o.Programs:  programs.own,
		o.Manifests: {"kustomization.yaml"},
	}
	for folder, names := range needed {
		for _, name := range names {
			if _, err := os.Stat(filepath.Join(folder, name)); err != nil {
				return fmt.Errorf("a part of the cluster is missing (build it with make): %w", err)
			}
		}
	}
	return nil
}

func (c *Cluster) choosePorts(ctx context.Context) error {
	a := &c.addresses
	wanted := []*string{
		&a.etcd, &a.etcdPeer, &a.api, &a.controllerManager, &a.scheduler,
		&a.applianceSSH, &a.applianceHTTP,
	}
	free, err := freeAddresses(ctx, len(wanted))
	if err != nil {
		return err
	}
	for i, address := range free {
		*wanted[i] = address
	}
	return nil
}

// Client talks to the API server as an administrator.
func (c *Cluster) Client() kubernetes.Interface { return c.client }

// Kubeconfig is the administrator's kubeconfig file.
func (c *Cluster) Kubeconfig() string { return c.folder.path("pki", adminUser+".kubeconfig") }

// ControllerKubeconfig is the kubeconfig file of the driver's controller and its sidecars.
func (c *Cluster) ControllerKubeconfig() string { return c.AccountKubeconfig(controllerAccount) }

// AccountKubeconfig is the kubeconfig file of a ServiceAccount of the manifests that were installed.
func (c *Cluster) AccountKubeconfig(account string) string { return c.identities.file(account) }

// Appliance is the URL of the simulator's HTTP interface.
func (c *Cluster) Appliance() string { return "http://" + c.addresses.applianceHTTP }

// ApplianceSSH is the simulator's SSH address, host:port.
func (c *Cluster) ApplianceSSH() string { return c.addresses.applianceSSH }

// Controllers are the URLs of the controllers' HTTP interfaces, where /metrics is.
func (c *Cluster) Controllers() []string { return c.controllers }

// Folder is the run folder, as the kernel names it.
func (c *Cluster) Folder() string { return string(c.folder) }

// KubeletRoot is the folder below which a node's kubelet mounts volumes into pods.
func (c *Cluster) KubeletRoot(node string) string { return c.folder.kubeletRoot(node) }

// ControllerUser is the API server's name for the driver's controller and its sidecars.
func (c *Cluster) ControllerUser() string { return c.AccountUser(controllerAccount) }

// AccountUser is the API server's name for a ServiceAccount of the driver's namespace.
func (c *Cluster) AccountUser(account string) string {
	return "system:serviceaccount:" + driverNamespace + ":" + account
}

// KillKubelet ends a node's kubelet with SIGKILL, as a machine's failure would: its pods' volumes stay mounted, and
// the node process that holds them stays up. It returns when the kubelet is gone.
func (c *Cluster) KillKubelet(node string) error { return c.kill(Node{Name: node}.process("kubelet")) }

// kill ends a process with SIGKILL and returns when it is gone.
func (c *Cluster) kill(name string) error {
	r, err := c.folder.ledger().last(name)
	if err != nil {
		return err
	}
	h, err := r.hold()
	if err != nil {
		return err
	}
	if h == nil {
		return fmt.Errorf("kill %s (pid %d): %w by itself", name, r.PID, errEnded)
	}
	defer h.release()
	return h.kill(killedFor)
}

func (c *Cluster) harness(program string) string { return filepath.Join(c.options.Harness, program) }

func (c *Cluster) program(name string) string { return filepath.Join(c.options.Programs, name) }

func (c *Cluster) progress(format string, values ...any) { c.options.Progress(format, values...) }
