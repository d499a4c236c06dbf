package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	utilexec "k8s.io/utils/exec"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/volumelock"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/node/host"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
)

// callLimit bounds a call whose caller set no deadline of its own; kubelet's is as long.
const callLimit = 2 * time.Minute

// stateLive is the kernel's word for a connection that works.
const stateLive = "live"

// Connector connects this node to subsystems. Implementations are safe for concurrent use, and none of the methods
// waits longer than its context.
type Connector interface {
	// Connect returns once the target has let this node in; being connected already is success. An error means that the target
	// may not be used now.
	Connect(ctx context.Context, target nvme.Target) error
	// Device returns the path of the block device of a connected subsystem, once it is there. That may take until no other
	// device of the same identity is left, such as the one of an earlier epoch.
	Device(ctx context.Context, subsystemNQN string) (path string, err error)
	// Connections lists what this node is connected to, of the subsystems whose NQN begins with nqnPrefix.
	Connections(ctx context.Context, nqnPrefix string) ([]nvme.Connection, error)
	// Disconnect ends the connection to a subsystem; having none is success. What is still to be written is lost, so
	// nothing of it may be mounted any more unless the target is gone too.
	Disconnect(ctx context.Context, subsystemNQN string) error
	// Rescan has the kernel look at the size of the subsystem's namespaces again. It may return before the device shows
	// the new one.
	Rescan(ctx context.Context, subsystemNQN string) error
}

// Config says which node this is.
type Config struct {
	// NodeName is the name of the Node object.
	NodeName string
	// MachineIdentity is what the Node object reports as this machine's identity.
	MachineIdentity string
	// MaxVolumes is how many volumes may be attached to this node at once, 1 or more.
	MaxVolumes int64
	// FlushTimeout is how long unmounting waits for a target that is away before it gives up what was never written; 0
	// stands for DefaultFlushTimeout. It must be less than callLimit.
	FlushTimeout time.Duration
}

// Service is the CSI node service.
type Service struct {
	csi.UnimplementedNodeServer
	id        attach.NodeID
	connector Connector
	host      *host.Host
	observer  Observer
	staged    stagedVolumes
	// locks are for what changes a volume's connections or mounts, looks for what only looks at it. They are by the volume
	// ID as the request has it: one that isn't ours can still be unmounted.
	locks, looks volumelock.Locks[string]
	maxVolumes   int64
	flushTimeout time.Duration
}

// NewNode returns an error if name and identity don't make a valid CSI node ID, or if anything is missing.
func New(config Config, connector Connector, mounter host.Mounter, commands utilexec.Interface, observer Observer) (*Service, error) {
	if connector == nil || mounter == nil || commands == nil || observer == nil {
		return nil, errors.New("node service: want a connector, a mounter, commands and an observer")
	}
	if config.MaxVolumes < 1 {
		return nil, fmt.Errorf("node service: want a maximum of 1 volume or more, not %d", config.MaxVolumes)
	}
	id, err := attach.ParseNodeID(attach.NodeID{Name: config.NodeName, Machine: config.MachineIdentity}.String())
	if err != nil {
		return nil, fmt.Errorf("node service: %w", err)
	}
	if config.FlushTimeout < 0 || config.FlushTimeout >= callLimit {
		return nil, fmt.Errorf("node service: want a patience of less than %s, not %s", callLimit, config.FlushTimeout)
	}
	return &Service{
		id: id, maxVolumes: config.MaxVolumes, flushTimeout: cmp.Or(config.FlushTimeout, DefaultFlushTimeout), connector: connector, host: host.New(host.Linux{}, mounter, commands), observer: observer,
	}, nil
}

// NodeGetInfo gives the node ID, "<node name>/<machine identity>", and how many volumes the node takes. Every node that
// reaches the appliance reaches every volume, so there is no topology.
func (n *Service) NodeGetInfo(context.Context, *csi.NodeGetInfoRequest) (*csi.NodeGetInfoResponse, error) {
	return &csi.NodeGetInfoResponse{NodeId: n.id.String(), MaxVolumesPerNode: n.maxVolumes}, nil
}

// NodeGetCapabilities says what this service offers. VOLUME_MOUNT_GROUP is not among it: kubelet itself gives files to a pod's group (CSIDriver fsGroupPolicy).
func (n *Service) NodeGetCapabilities(context.Context, *csi.NodeGetCapabilitiesRequest) (*csi.NodeGetCapabilitiesResponse, error) {
	response := &csi.NodeGetCapabilitiesResponse{}
	for _, capability := range []csi.NodeServiceCapability_RPC_Type{
		csi.NodeServiceCapability_RPC_STAGE_UNSTAGE_VOLUME,
		csi.NodeServiceCapability_RPC_GET_VOLUME_STATS,
		csi.NodeServiceCapability_RPC_EXPAND_VOLUME,
		csi.NodeServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER,
		csi.NodeServiceCapability_RPC_GET_VOLUME_HEALTH,
	} {
		response.Capabilities = append(response.Capabilities, &csi.NodeServiceCapability{
			Type: &csi.NodeServiceCapability_Rpc{Rpc: &csi.NodeServiceCapability_RPC{Type: capability}},
		})
	}
	return response, nil
}

// whileLocked runs one operation that changes a volume, and returns when it is done or the context ends, whichever comes
// first. The volume stays locked until the operation really ends, so that no second one starts beside it.
func (n *Service) whileLocked(ctx context.Context, volumeID string, operate func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	return bounded(ctx, &n.locks, volumeID, operate)
}

// bounded runs an operation under a volume's lock and returns when it is done or the context ends, whichever comes
// first: a system call on a device that went away can't be interrupted, and the caller must not hang with it. The lock
// is held until the operation really ends.
func bounded(ctx context.Context, locks *volumelock.Locks[string], volumeID string, operate func(context.Context) error) error {
	unlock, err := locks.Lock(volumeID)
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() {
		err := failure.Recover(ctx, func() error { return operate(ctx) })
		unlock()
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("volume %s: gave up waiting for the kernel: %w", volumeID, ctx.Err())
	}
}
