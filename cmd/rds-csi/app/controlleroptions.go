package app

import (
	"errors"
	"flag"
	"fmt"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
)

// ControllerOptions are the flags of "rds-csi controller".
type ControllerOptions struct {
	endpoint    string
	httpAddress string
	clusterID   string

	kubernetes bool
	kube       kubeOptions
	pod        podOptions

	reconcile        bool
	reconcileEvery   time.Duration
	reconcileWorkers int
	gracePeriod      time.Duration
	fenceDelay       time.Duration
	stuckAfter       time.Duration
	maxWaiting       int
	allowUnfenced    bool
	restrictHosts    bool
	onlineExpansion  bool
	keeperPool       string
	election         electionOptions
	valve            attach.ValveConfig
	removeOrphans    bool
	orphanGrace      time.Duration

	appliance applianceOptions
	target    targetOptions
}

// AddFlags registers the flags with their defaults.
func (o *ControllerOptions) AddFlags(flags *flag.FlagSet) {
	flags.StringVar(&o.endpoint, "endpoint", "unix:///csi/csi.sock", "socket to serve CSI on, unix:// and an absolute path")
	flags.StringVar(&o.httpAddress, "http-address", "", "host:port to serve /metrics, /healthz and /readyz on; empty serves none")
	flags.StringVar(&o.clusterID, "cluster-id", "", "ID that stands in every volume's record and path; default: the UID of namespace kube-system (needed with --kubernetes=false)")

	flags.BoolVar(&o.kubernetes, "kubernetes", true, "ask Kubernetes whether a holder is gone, and clear stale attachments there; false, for other orchestrators, relies on the appliance's records alone: the driver then can't check which nodes exist, and any well-formed node ID gets a volume")
	o.kube.addFlags(flags)
	flags.StringVar(&o.pod.text, "pod", "", "this process' pod, namespace/name/UID, so that kubectl describe pod shows what keeps it from using the appliance; empty writes that event on the CSIDriver only")

	flags.BoolVar(&o.reconcile, "enable-attachment-reconciler", true, "clear the attachments of nodes that are gone")
	flags.DurationVar(&o.reconcileEvery, "attachment-reconcile-interval", 5*time.Minute, "interval at which every attachment is checked, in case an event was lost")
	flags.IntVar(&o.reconcileWorkers, "attachment-reconcile-workers", 4, "number of attachments that are checked concurrently")
	flags.DurationVar(&o.gracePeriod, "attachment-grace-period", 30*time.Second, "how long a holder may have been detaching for its volume to be handed off to another node")
	flags.DurationVar(&o.fenceDelay, "fence-delay", 0, "how long to hold back an answer after access was revoked: for an appliance that ends connections later than it says; less than external-attacher's --timeout")
	flags.DurationVar(&o.stuckAfter, "attachment-stuck-period", 5*time.Minute, "how long a detach may take before an event and a metric report it; nothing is forced")
	flags.IntVar(&o.maxWaiting, "max-held-publishes", 2, "number of publish requests that may wait at once for a conflict that is about to end; at most a quarter of external-attacher's --worker-threads, since detaching needs them too")
	flags.BoolVar(&o.allowUnfenced, "rwx-allow-unfenced", false, "let a node join a shared volume (ReadWriteMany, block) although a departed host that shared it before may still be connected")
	flags.BoolVar(&o.restrictHosts, "restrict-hosts", false, "export a volume only to the host NQN of its holder, in addition to the epoch; nodes must connect by this driver, which derives the host NQN from the machine's identity. It may be switched on and off while volumes are in use")
	flags.BoolVar(&o.onlineExpansion, "online-expansion", false, "expand volumes while they are published; switch it on only if a connected node notices a larger disk with your RouterOS version")

	flags.StringVar(&o.keeperPool, "keeper-pool", "", "mount point of a pool for a disk of 1 MiB whose export keeps the NVMe/TCP port open when the last volume's goes, and which no host may connect to: a kernel before Linux 5.16 may crash when its port closes while a node connects. Empty makes none")

	o.election.leaseName, o.election.agent = controllerLease, controllerAgent
	o.election.addFlags(flags, "let only one of several controllers clear stale attachments and look for orphans; every one serves CSI")
	flags.IntVar(&o.valve.Nodes, "mass-deletion-nodes", 3, "pause clearing and take-over while at least this many nodes vanished within the window; 0 never pauses")
	flags.Float64Var(&o.valve.Share, "mass-deletion-share", 0.3, "and only while they are at least this share of all nodes; more than 0, at most 1")
	flags.DurationVar(&o.valve.Window, "mass-deletion-window", 10*time.Minute, "how long a vanished node counts")

	flags.BoolVar(&o.removeOrphans, "remove-orphans", false, "delete disks of this cluster that no PersistentVolume refers to, and revoke access of holders without an attachment; false only reports them. Read docs/orphans.md first")
	flags.DurationVar(&o.orphanGrace, "orphan-grace-period", time.Hour, "how long audits must have found an orphan before it is removed")

	o.appliance.addFlags(flags)
	o.target.addFlags(flags, "")
}

// Validate checks the flags without any I/O, and returns one error with everything that is wrong. Files and addresses
// are checked when they are used.
func (o *ControllerOptions) Validate() error {
	o.appliance.config.Port = o.target.number()
	if o.restrictHosts {
		o.appliance.config.HostNQN = hostOf
	}
	return errors.Join(o.appliance.validate(), o.election.validate(), o.kube.validate(), o.pod.validate(), failures(o.target.checks()), failures([]check{
		{isListenAddress(o.httpAddress), fmt.Errorf("--http-address %q: want host:port, or nothing", o.httpAddress)},
		{o.clusterID != "" || o.kubernetes, errors.New("--cluster-id: want an ID of this cluster's own, needed with --kubernetes=false")},
		{o.reconcileEvery > 0, fmt.Errorf("--attachment-reconcile-interval %s: want more than 0", o.reconcileEvery)},
		{o.reconcileWorkers > 0, fmt.Errorf("--attachment-reconcile-workers %d: want more than 0", o.reconcileWorkers)},
		{o.gracePeriod >= 0, fmt.Errorf("--attachment-grace-period %s: want 0 or more", o.gracePeriod)},
		{o.fenceDelay >= 0, fmt.Errorf("--fence-delay %s: want 0 or more", o.fenceDelay)},
		{o.stuckAfter > 0, fmt.Errorf("--attachment-stuck-period %s: want more than 0", o.stuckAfter)},
		{o.maxWaiting >= 0, fmt.Errorf("--max-held-publishes %d: want 0 or more", o.maxWaiting)},
		{o.valve.Nodes >= 0, fmt.Errorf("--mass-deletion-nodes %d: want 0 or more", o.valve.Nodes)},
		{o.valve.Share > 0 && o.valve.Share <= 1, fmt.Errorf("--mass-deletion-share %g: want more than 0 and at most 1", o.valve.Share)},
		{o.valve.Window > 0, fmt.Errorf("--mass-deletion-window %s: want more than 0", o.valve.Window)},
		{o.orphanGrace > 0, fmt.Errorf("--orphan-grace-period %s: want more than 0", o.orphanGrace)},
		{!o.removeOrphans || o.kubernetes && o.reconcile, errors.New("--remove-orphans: needs --kubernetes and --enable-attachment-reconciler, which looks for them")},
	}))
}

// hostOf returns the host NQN of the node with this ID, or "" if the ID is invalid.
func hostOf(nodeID string) string {
	id, err := attach.ParseNodeID(nodeID)
	if err != nil {
		return "" // this driver never admits a node under such an ID
	}
	return nvme.HostOf(id.Machine).NQN
}
