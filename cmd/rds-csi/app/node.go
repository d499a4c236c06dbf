package app

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"
	"k8s.io/klog/v2"
	"k8s.io/mount-utils"
	utilexec "k8s.io/utils/exec"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/node"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/metrics"
)

// NodeOptions are the flags of the process that runs on every node.
type NodeOptions struct {
	// Endpoint is where to serve CSI, unix:///path/to/csi.sock.
	Endpoint string
	// NodeName is the name of the Node object.
	NodeName string
	// MachineID overrides the identity that is read from the machine. If it is empty, that one is used.
	MachineID string
	// KubeletDir is kubelet's folder, which is checked at start. If it is empty, it isn't checked.
	KubeletDir string
	// HTTPAddress is where to serve /metrics, /healthz and /readyz, host:port. If it is empty, they aren't served.
	HTTPAddress string
	// MaxVolumes is the maximum number of volumes that are published to the node at once; 1 or more.
	MaxVolumes int64
}

// defaultMaxVolumes limits the number of connections. Each volume is an NVMe controller with a TCP connection and a
// kernel queue for every CPU. 128 volumes on 64 CPUs have 8,320 connections, and all of them end at the appliance. The
// kernel's own limits are much higher.
const defaultMaxVolumes = 128

// AddFlags registers the flags of a node process.
func (o *NodeOptions) AddFlags(flags *flag.FlagSet) {
	flags.StringVar(&o.Endpoint, "endpoint", "unix:///csi/csi.sock", "where to serve CSI: unix:// and an absolute path")
	flags.StringVar(&o.NodeName, "node-name", "", "name of this node's Node object (required)")
	flags.StringVar(&o.MachineID, "machine-id", "", "identity of this machine as its Node object reports it in status.nodeInfo.systemUUID, or in machineID if that is a placeholder; default: read from the files that kubelet reads")
	flags.Int64Var(&o.MaxVolumes, "max-volumes", defaultMaxVolumes, "maximum number of volumes on this node at once; each is an NVMe controller with a TCP connection per CPU")
	flags.StringVar(&o.KubeletDir, "kubelet-dir", "/var/lib/kubelet", "kubelet's folder (--root-dir), which is checked at start: mounts in it must be shared with the host; empty: not checked")
	flags.StringVar(&o.HTTPAddress, "http-address", "", "host:port for /metrics, /healthz and /readyz; empty: off")
}

// Validate returns an error that names every invalid flag and says what was expected.
func (o *NodeOptions) Validate() error {
	socket, isUnix := strings.CutPrefix(o.Endpoint, "unix://")
	_, err := attach.ParseNodeID("node/" + cmp.Or(normalized(o.MachineID), "machine"))
	return failures([]check{
		{isUnix && filepath.IsAbs(socket), fmt.Errorf("--endpoint %q: want unix:// and an absolute path, such as unix:///csi/csi.sock", o.Endpoint)},
		{o.NodeName != "", errors.New("--node-name: want the name of this node's Node object (spec.nodeName by the downward API)")},
		{o.MaxVolumes >= 1, fmt.Errorf("--max-volumes %d: want 1 or more", o.MaxVolumes)},
		{o.KubeletDir == "" || filepath.IsAbs(o.KubeletDir), fmt.Errorf("--kubelet-dir %q: want an absolute path, such as /var/lib/kubelet, or nothing", o.KubeletDir)},
		{isListenAddress(o.HTTPAddress), fmt.Errorf("--http-address %q: want host:port, or nothing", o.HTTPAddress)},
		{err == nil, fmt.Errorf("--machine-id %q: %w", o.MachineID, err)},
	})
}

// MachineIdentity returns the identity of this machine: that of the flag, else the one that the machine itself reports.
// A placeholder is an error.
func (o *NodeOptions) MachineIdentity() (string, error) {
	identity := normalized(o.MachineID)
	switch {
	case identity == "":
		return machineIdentity(machineFiles())
	case attach.IsPlaceholder(identity):
		return "", fmt.Errorf("--machine-id %q: %w: want what the Node reports as status.nodeInfo.systemUUID, or as machineID if that is a placeholder", o.MachineID, errPlaceholder)
	default:
		return identity, nil
	}
}

// RunNode serves the node service with the given connector until ctx ends, and then returns nil. It returns an error at
// once if an option is invalid, the machine has no identity, mounts in kubelet's folder aren't shared with the host, or it
// can't listen. It doesn't serve in that case: kubelet would register the driver and send pods, and a container's mounts
// stay as they were when it began, so that only a new one helps.
func RunNode(ctx context.Context, options NodeOptions, connector node.Connector) error {
	if err := options.Validate(); err != nil {
		return err
	}
	identity, err := options.MachineIdentity()
	if err != nil {
		return err
	}
	config := node.Config{NodeName: options.NodeName, MachineIdentity: identity, MaxVolumes: options.MaxVolumes}
	observed := metrics.New()
	// systemd-run only helps filesystems with a daemon, and this driver's have none.
	service, err := node.New(config, connector, mount.NewWithoutSystemd(""), utilexec.New(), observed)
	if err != nil {
		return err
	}
	if options.KubeletDir != "" {
		if err := service.CheckFolder(options.KubeletDir); err != nil {
			return fmt.Errorf("--kubelet-dir %s: %w; want kubelet's --root-dir, at the same path as on the host", options.KubeletDir, err)
		}
	}
	services := csi.Services{Identity: csi.NewNodeIdentity(version()), Node: service}
	server, err := csi.NewServer(options.Endpoint, services, observed.ObserveCall)
	if err != nil {
		return err
	}
	klog.FromContext(ctx).Info("Starting the node service", "node", options.NodeName, "machine", identity)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return server.Run(ctx) })
	group.Go(func() error {
		return serveHTTP(ctx, options.HTTPAddress, observed, health{alive: server.Healthy})
	})
	return group.Wait()
}
