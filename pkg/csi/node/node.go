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
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

const (
	// callLimit bounds a call that changes a volume. kubelet's own deadline is as long.
	callLimit = 2 * time.Minute
	// lookLimit bounds a call that only looks at a volume. Looking hangs if the volume's device does.
	lookLimit = 10 * time.Second
)

// stateLive is the kernel's name for the state of a connection that works.
const stateLive = "live"

// Connector connects this node to subsystems. Implementations are safe for concurrent use, and each method returns when
// its context ends.
type Connector interface {
	// Connect returns once the target has accepted this node; being connected already is success. After an error the
	// target must not be used.
	Connect(ctx context.Context, target nvme.Target) error
	// Device returns the path of the block device of a connected subsystem, once the device exists. The kernel may not
	// make it while another device has the same identity, such as the device of an earlier epoch.
	Device(ctx context.Context, subsystemNQN string) (path string, err error)
	// Connections returns this node's connections to subsystems whose NQN begins with nqnPrefix.
	Connections(ctx context.Context, nqnPrefix string) ([]nvme.Connection, error)
	// Disconnect ends the connection to a subsystem; having none is success. What isn't written yet is lost. So the device
	// must not be mounted any more, unless the target is away.
	Disconnect(ctx context.Context, subsystemNQN string) error
	// Rescan has the kernel read the size of the subsystem's namespaces again. It may return before the device has the new
	// size.
	Rescan(ctx context.Context, subsystemNQN string) error
}

// Config is how the node service works.
type Config struct {
	// NodeName is the name of the Node object.
	NodeName string
	// MachineIdentity is this machine's identity as the Node object reports it.
	MachineIdentity string
	// MaxVolumes is how many volumes may be attached to this node at once, 1 or more.
	MaxVolumes int64
	// FlushTimeout is how long unmounting waits for a target that is away. After it, what wasn't written yet is lost. 0
	// stands for DefaultFlushTimeout; it must be less than two minutes.
	FlushTimeout time.Duration
}

// Service is the CSI node service. It is safe for concurrent use.
type Service struct {
	csi.UnimplementedNodeServer
	id        attach.NodeID
	connector Connector
	host      *host.Host
	observer  Observer
	staged    stagedVolumes
	// unstaged is when a volume was unstaged last.
	unstaged lastTime
	// changes are the operations that change a volume's connections or mounts; looks only read. A look must not keep a
	// volume from being staged or unstaged, so each has locks of its own.
	changes, looks operations
	maxVolumes     int64
	flushTimeout   time.Duration
}

// New returns an error if the node's name and machine identity don't make a valid CSI node ID, if another field of the
// configuration is out of range, or if an argument is nil.
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
		return nil, fmt.Errorf("node service: want a flush timeout of less than %s, not %s", callLimit, config.FlushTimeout)
	}
	return &Service{
		id: id, maxVolumes: config.MaxVolumes, flushTimeout: cmp.Or(config.FlushTimeout, DefaultFlushTimeout),
		connector: connector, host: host.New(host.Linux{}, mounter, commands), observer: observer,
		staged:  stagedVolumes{targets: map[rds.VolumeID]nvme.Target{}, lost: map[rds.VolumeID]bool{}},
		changes: operations{limit: callLimit}, looks: operations{limit: lookLimit, queued: true},
	}, nil
}

// CheckFolder returns an error unless the folder, kubelet's, exists and what is mounted in it shows up on the host.
func (n *Service) CheckFolder(folder string) error { return n.host.CheckShared(folder) }

// NodeGetInfo returns the node ID, "<node name>/<machine identity>", and the number of volumes that may be attached to
// the node at once. A node that reaches the appliance reaches every volume, so there is no topology.
func (n *Service) NodeGetInfo(context.Context, *csi.NodeGetInfoRequest) (*csi.NodeGetInfoResponse, error) {
	return &csi.NodeGetInfoResponse{NodeId: n.id.String(), MaxVolumesPerNode: n.maxVolumes}, nil
}

// NodeGetCapabilities returns what this service offers. It doesn't offer VOLUME_MOUNT_GROUP: kubelet itself changes the
// group of a pod's files (fsGroupPolicy of the CSIDriver).
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

// operations admits one operation per volume at a time, and bounds the time that a call waits for it.
type operations struct {
	// Locks are keyed by the volume ID as the request has it: a volume whose ID isn't ours can still be unmounted.
	volumelock.Locks[string]
	limit time.Duration
	// queued has an operation wait for the one before it. Otherwise it is refused.
	queued bool
}

// lock locks the volume. It returns failure.ErrBusy if the volume stays locked.
func (o *operations) lock(ctx context.Context, volumeID string) (unlock func(), err error) {
	for {
		unlocked := o.Unlocked(volumeID)
		if unlock, err = o.Lock(volumeID); err == nil || !o.queued {
			return unlock, err
		}
		select {
		case <-unlocked:
		case <-ctx.Done():
			return nil, err
		}
	}
}

// run runs an operation on a volume and returns its result. It returns an error when the context ends or the time limit
// is over: a system call on a device that went away can't be interrupted, and the caller must not hang with it. The
// volume stays locked until the operation really ends, so that no second one runs beside it.
func run[T any](ctx context.Context, o *operations, volumeID string, operate func(context.Context) (T, error)) (T, error) {
	var result, none T
	ctx, cancel := context.WithTimeout(ctx, o.limit)
	defer cancel()
	unlock, err := o.lock(ctx, volumeID)
	if err != nil {
		return none, err
	}
	done := make(chan error, 1)
	go func() {
		err := failure.Recover(ctx, func() (err error) {
			result, err = operate(ctx)
			return err
		})
		unlock()
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil {
			return none, err
		}
		return result, nil
	case <-ctx.Done():
		return none, fmt.Errorf("volume %s: gave up waiting for the kernel: %w", volumeID, ctx.Err())
	}
}
