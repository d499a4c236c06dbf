package app

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"strings"
	"time"

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
	// DrainTimeout bounds how long the process goes on serving after it was told to end, while volumes are about to be
	// unstaged; 0: it doesn't.
	DrainTimeout time.Duration
}

// defaultDrainTimeout is enough to write what a large memory holds and to report it. With the 10 seconds that calls in flight
// may take after it, it is within the minute of terminationGracePeriodSeconds in manifests/node.
const defaultDrainTimeout = 45 * time.Second

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
	flags.DurationVar(&o.DrainTimeout, "drain-timeout", defaultDrainTimeout, "how long to go on serving after SIGTERM, at most, while volumes that no process uses any more are still to be unstaged; 15s less than terminationGracePeriodSeconds; 0: not at all")
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
		{o.DrainTimeout >= 0, fmt.Errorf("--drain-timeout %s: want 0 or more", o.DrainTimeout)},
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

// RunNode serves the node service with the given connector until ctx ends, and on until it is drained. Then it returns nil.
// It returns an error at once if an option is invalid, the machine has no identity, mounts in kubelet's folder aren't shared
// with the host, or it can't listen. It doesn't serve in that case: kubelet would register the driver and send pods, and a
// container's mounts stay as they were when it began, so that only a new one helps.
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
	return serveUntilDrained(ctx, options.DrainTimeout, service, []func(context.Context) error{
		server.Run,
		func(ctx context.Context) error {
			return serveHTTP(ctx, options.HTTPAddress, observed, health{alive: server.Healthy})
		},
	})
}

// serveUntilDrained runs the parts of the process until ctx has ended and the service is drained, or the time for that is
// over. It returns the first error of a part, which ends the others.
func serveUntilDrained(ctx context.Context, limit time.Duration, service *node.Service, parts []func(context.Context) error) error {
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	return runAll(serving, append(parts, func(serving context.Context) error {
		defer stop()
		select {
		case <-ctx.Done():
		case <-serving.Done():
			return nil
		}
		if limit == 0 {
			return nil
		}
		logger := klog.FromContext(ctx)
		logger.Info("Told to end; serving on while volumes are about to be unstaged", "atMost", limit)
		bounded, cancel := context.WithTimeout(serving, limit)
		defer cancel()
		if err := service.Drain(bounded); err != nil {
			logger.Error(err, "Ending all the same")
		}
		return nil
	}))
}
