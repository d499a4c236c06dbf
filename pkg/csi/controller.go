package csi

import (
	"context"
	"fmt"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

// Appliance is what the controller service needs of the appliance; *rds.Client is one.
type Appliance interface {
	Volumes
	Stock
}

// Stock is what there is on the appliance as a whole.
type Stock interface {
	List(ctx context.Context) ([]rds.Disk, error)
	Health(ctx context.Context) ([]rds.Health, error)
	Capacity(ctx context.Context, pool string) (rds.Capacity, error)
}

// Volumes is what is done to one volume at a time.
type Volumes interface {
	Create(ctx context.Context, id rds.VolumeID, size rds.Size, record rds.Record) (rds.Disk, error)
	Get(ctx context.Context, id rds.VolumeID) (rds.Disk, error)
	LastSeen(id rds.VolumeID) (rds.Disk, bool)
	Publish(ctx context.Context, seen rds.Disk, next rds.Record) (rds.Disk, error)
	Withdraw(ctx context.Context, seen rds.Disk) (rds.Disk, error)
	Unpublish(ctx context.Context, seen rds.Disk, next rds.Record) (rds.Disk, error)
	Expand(ctx context.Context, seen rds.Disk, size int64) (rds.Disk, error)
	Delete(ctx context.Context, id rds.VolumeID, granted uint64) error
}

// Nodes is what the controller service needs to know of nodes and of what is attached to them. NewKubernetesNodes asks
// Kubernetes; RecordNodes knows nothing but what the appliance's record says.
type Nodes interface {
	// Admit checks that the node may get the volume at all. Its errors are those of package attach.
	Admit(ctx context.Context, volumeID string, node attach.NodeID) (Admission, error)
	// Standings finds out, live, what is known of each holder of the volume.
	Standings(ctx context.Context, volumeID string, holders []attach.NodeID) []attach.Holder
	// LetGo tells whether the node is living proof that it doesn't use the volume any more.
	LetGo(ctx context.Context, volumeID string, node attach.NodeID) bool
	// Granted is the highest generation that any attachment of the volume is known to carry, 0 if none is. It costs nothing.
	Granted(volumeID string) uint64
	// Grants finds out, live, under which grants living nodes have the volume attached, even those that nobody has heard of yet.
	Grants(ctx context.Context, volumeID string) ([]attach.Grant, error)
	// Changed gives a channel that is closed when something happens to an attachment of the volume, or to its node.
	Changed(volumeID string) <-chan struct{}
}

// Admission is what admitting a node showed.
type Admission struct {
	// Attached says that Kubernetes believes the volume to be attached to the node already.
	Attached bool
}

// ControllerConfig is how the controller service works.
type ControllerConfig struct {
	// ClusterID is written into the record of every volume.
	ClusterID string
	// Directory, below each pool, holds the backing files.
	Directory string
	// Address and Port are where nodes reach the appliance's NVMe/TCP target.
	Address string
	Port    uint16
	// GracePeriod is how long a holder may have been detaching for its volume to be handed off; 0 or more.
	GracePeriod time.Duration
	// AllowUnfenced lets a node join a volume that is shared although a host that departed may still be connected.
	AllowUnfenced bool
	// ExpandPublished lets a volume grow while a node has it.
	ExpandPublished bool
	// MaxHeld is how many publish requests may wait at once for a conflict to resolve; 0 or more.
	MaxHeld int
	// Await waits until the channel is closed or ctx ends, whose error it then returns; nil stands for just that.
	Await func(ctx context.Context, signal <-chan struct{}) error
}

// ControllerObserver is told what the controller service decides and does. Its functions must be set, and must not block.
type ControllerObserver struct {
	// Decided is called with every decision on a publish request.
	Decided func(attach.Verdict)
	// Note is called with what people should know about a volume.
	Note func(attach.Note)
	// Restored is called whenever the appliance was given back what it had lost of a volume.
	Restored func(RestoreReason)
}

// Controller is the CSI controller service.
type Controller struct {
	csi.UnimplementedControllerServer
	config    ControllerConfig
	appliance Appliance
	nodes     Nodes
	observer  ControllerObserver
	locks     volumeLocks
	door      *door
}

// NewController checks the configuration.
func NewController(config ControllerConfig, appliance Appliance, nodes Nodes, observer ControllerObserver) (*Controller, error) {
	if config.Address == "" || config.Port == 0 {
		return nil, fmt.Errorf("NVMe/TCP address %q and port %d: want where nodes reach the appliance", config.Address, config.Port)
	}
	if config.GracePeriod < 0 {
		return nil, fmt.Errorf("attachment grace period %s: want 0 or more", config.GracePeriod)
	}
	if config.MaxHeld < 0 {
		return nil, fmt.Errorf("held publish requests %d: want 0 or more", config.MaxHeld)
	}
	if _, err := rds.NewVolumeID("pool", config.Directory, "name"); err != nil {
		return nil, err
	}
	if config.Await == nil {
		config.Await = awaitSignal
	}
	return &Controller{config: config, appliance: appliance, nodes: nodes, observer: observer, door: newDoor(config.MaxHeld, config.Await)}, nil
}

// ControllerGetCapabilities lists what this service can do. LIST_VOLUMES_PUBLISHED_NODES isn't among it: external-attacher
// would compare every minute what it believes with what ListVolumes said, and publish again, on a cache that may be old, what
// differs. The reconciler compares both with the API server's word instead.
func (c *Controller) ControllerGetCapabilities(context.Context, *csi.ControllerGetCapabilitiesRequest) (*csi.ControllerGetCapabilitiesResponse, error) {
	response := &csi.ControllerGetCapabilitiesResponse{}
	for _, capability := range []csi.ControllerServiceCapability_RPC_Type{
		csi.ControllerServiceCapability_RPC_CREATE_DELETE_VOLUME,
		csi.ControllerServiceCapability_RPC_PUBLISH_UNPUBLISH_VOLUME,
		csi.ControllerServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER,
		csi.ControllerServiceCapability_RPC_LIST_VOLUMES,
		csi.ControllerServiceCapability_RPC_GET_VOLUME,
		csi.ControllerServiceCapability_RPC_GET_CAPACITY,
		csi.ControllerServiceCapability_RPC_EXPAND_VOLUME,
		csi.ControllerServiceCapability_RPC_GET_VOLUME_HEALTH,
		csi.ControllerServiceCapability_RPC_LIST_VOLUME_HEALTH,
	} {
		response.Capabilities = append(response.Capabilities, &csi.ControllerServiceCapability{
			Type: &csi.ControllerServiceCapability_Rpc{Rpc: &csi.ControllerServiceCapability_RPC{Type: capability}},
		})
	}
	return response, nil
}

// ifOurs runs an operation on a volume that may be gone already, one operation a volume at a time. What can't be the ID
// of a volume of ours never named one, so there is nothing to do.
func (c *Controller) ifOurs(volumeID string, operate func(rds.VolumeID) error) error {
	if volumeID == "" {
		return &invalidError{field: "volume_id", want: "one"}
	}
	id, err := rds.ParseVolumeID(volumeID)
	if err != nil {
		return nil
	}
	unlock, err := c.locks.lock(id.String())
	if err != nil {
		return err
	}
	defer unlock()
	return operate(id)
}

// existingVolume parses the ID, not empty, of a volume that must exist: one that isn't ours can't.
func existingVolume(volumeID string) (rds.VolumeID, error) {
	id, err := rds.ParseVolumeID(volumeID)
	if err != nil {
		return rds.VolumeID{}, fmt.Errorf("%w: %w", rds.ErrNotFound, err)
	}
	return id, nil
}
