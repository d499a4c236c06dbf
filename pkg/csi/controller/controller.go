package controller

import (
	"context"
	"fmt"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/volumelock"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

// Appliance is what the controller service needs of the appliance. *rds.Client implements it.
type Appliance interface {
	Volumes
	Stock
}

// Stock reads what the appliance has, whosever it is.
type Stock interface {
	ForeignRecord(ctx context.Context, id rds.VolumeID) (rds.Record, error)
	List(ctx context.Context) ([]rds.Disk, error)
	Health(ctx context.Context) ([]rds.Health, error)
	Capacity(ctx context.Context, pool string) (rds.Capacity, error)
	Survey(ctx context.Context, directory string) (rds.Survey, error)
}

// Volumes reads and writes one volume at a time.
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

// Nodes is what the controller service needs to know about nodes and attachments. *attach.Nodes asks Kubernetes;
// attach.RecordNodes uses the appliance's records only. A handle is a volume ID as text.
type Nodes interface {
	// Admit checks that the node may get the volume at all. Errors are those of package attach.
	Admit(ctx context.Context, handle string, node attach.NodeID) (attach.Admission, error)
	// HolderStates returns, from live answers, what is known of each holder of the volume.
	HolderStates(ctx context.Context, handle string, holders []attach.NodeID) []attach.Holder
	// StoppedUsing reports whether the living node itself proves that it doesn't use the volume any more.
	StoppedUsing(ctx context.Context, handle string, node attach.NodeID) bool
	// Granted returns the newest grant that any cached attachment of the volume carries; zero if none does.
	Granted(handle string) attach.Grant
	// OthersGranted returns the nodes that aren't holders, but have a cached attachment under the record's epoch.
	OthersGranted(handle string, record attach.Record) []attach.NodeID
	// Grants returns, from live answers, the grants under which living nodes have the volume attached.
	Grants(ctx context.Context, handle string) ([]attach.Grant, error)
	// Changed returns a channel that is closed at the next event about an attachment of the volume, or its node. It is of no
	// use after ctx has ended.
	Changed(ctx context.Context, handle string) <-chan struct{}
}

// Config is how the controller service works.
type Config struct {
	// ClusterID is written into the record of every volume.
	ClusterID string
	// Directory is where the backing files are, below each pool.
	Directory string
	// Address and Port are where nodes reach the appliance's NVMe/TCP target.
	Address string
	Port    uint16
	// GracePeriod is how long a holder may have been detaching for its volume to be handed off; 0 or more.
	GracePeriod time.Duration
	// FenceDelay is how long answers are held back after access was revoked; 0 or more.
	FenceDelay time.Duration
	// AllowUnfenced lets a node join a shared volume although a departed host may still be connected to it.
	AllowUnfenced bool
	// ExpandPublished lets a volume grow while it has a holder.
	ExpandPublished bool
	// MaxWaiting is how many publish requests may wait at once for a conflict to end; 0 or more.
	MaxWaiting int
	// Await waits until the channel is closed, or until ctx ends, and then returns ctx's error. If it is nil, the service
	// does just that; tests replace it.
	Await func(ctx context.Context, signal <-chan struct{}) error
}

// Expansion returns when volumes can grow, for the identity service.
func (c Config) Expansion() csi.PluginCapability_VolumeExpansion_Type {
	if c.ExpandPublished {
		return csi.PluginCapability_VolumeExpansion_ONLINE
	}
	return csi.PluginCapability_VolumeExpansion_OFFLINE
}

// Observer has the functions that are called with what the controller service decides and does. All must be set. They
// are called concurrently, and must not block.
type Observer struct {
	// Decided is called with every decision on a publish request.
	Decided func(attach.Verdict)
	// HandedOff is called when a node has got a volume whose holder was still detaching.
	HandedOff func()
	// Note is called with what people should know about a volume.
	Note func(attach.Note)
	// Restored is called each time when a record or an export that the appliance had lost was restored.
	Restored func(attach.RestoreReason)
}

// Service is the CSI controller service. It is safe for concurrent use.
type Service struct {
	csi.UnimplementedControllerServer
	config    Config
	appliance Appliance
	nodes     Nodes
	observer  Observer
	locks     volumelock.Locks[rds.VolumeID]
	queue     *publishQueue
	fences    *fenceDelay
}

// New returns an error if the configuration isn't valid.
func New(config Config, appliance Appliance, nodes Nodes, observer Observer) (*Service, error) {
	if config.Address == "" || config.Port == 0 {
		return nil, fmt.Errorf("NVMe/TCP address %q and port %d: want where nodes reach the appliance", config.Address, config.Port)
	}
	if config.GracePeriod < 0 {
		return nil, fmt.Errorf("attachment grace period %s: want 0 or more", config.GracePeriod)
	}
	if config.FenceDelay < 0 {
		return nil, fmt.Errorf("fence delay %s: want 0 or more", config.FenceDelay)
	}
	if config.MaxWaiting < 0 {
		return nil, fmt.Errorf("waiting publish requests %d: want 0 or more", config.MaxWaiting)
	}
	if _, err := rds.NewVolumeID("pool", config.Directory, config.ClusterID, "name"); err != nil {
		return nil, err
	}
	if config.Await == nil {
		config.Await = awaitSignal
	}
	return &Service{
		config: config, appliance: appliance, nodes: nodes, observer: observer,
		queue: newPublishQueue(config.MaxWaiting, config.Await), fences: newFenceDelay(config.FenceDelay),
	}, nil
}

// ControllerGetCapabilities returns what this service offers. It doesn't offer LIST_VOLUMES_PUBLISHED_NODES: every
// minute external-attacher would compare its cache, which may be old, with the reply to ListVolumes, and publish again
// where they differ. The reconciler compares the appliance with the API server's live answers instead.
func (c *Service) ControllerGetCapabilities(context.Context, *csi.ControllerGetCapabilitiesRequest) (*csi.ControllerGetCapabilitiesResponse, error) {
	response := &csi.ControllerGetCapabilitiesResponse{}
	for _, capability := range []csi.ControllerServiceCapability_RPC_Type{
		csi.ControllerServiceCapability_RPC_CREATE_DELETE_VOLUME,
		csi.ControllerServiceCapability_RPC_PUBLISH_UNPUBLISH_VOLUME,
		csi.ControllerServiceCapability_RPC_PUBLISH_READONLY,
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

// ifOurs runs an operation on the volume with this handle, while the volume is locked. It does nothing if the handle
// can't be a volume ID of this driver: then there never was such a volume. It returns attach.ErrVersion0 for a volume that
// v0.x made: that one may well exist.
func (c *Service) ifOurs(handle string, operate func(rds.VolumeID) error) error {
	if handle == "" {
		return &failure.InvalidError{Field: "volume_id", Want: "one"}
	}
	if err := attach.CheckVersion(handle); err != nil {
		return err
	}
	id, err := rds.ParseVolumeID(handle)
	if err != nil {
		return nil //nolint:nilerr // what never was is gone
	}
	return c.whileLocked(id, operate)
}

// whileLocked runs an operation on a volume while it is locked. It returns failure.ErrBusy if the volume is locked
// already.
func (c *Service) whileLocked(id rds.VolumeID, operate func(rds.VolumeID) error) error {
	unlock, err := c.locks.Lock(id)
	if err != nil {
		return err
	}
	defer unlock()
	return operate(id)
}

// existingDisk returns the disk of the volume that a request is about. It returns rds.ErrNotFound if there is none.
func (c *Service) existingDisk(ctx context.Context, request interface{ GetVolumeId() string }) (rds.Disk, error) {
	id, err := parseExisting(request)
	if err != nil {
		return rds.Disk{}, err
	}
	return c.appliance.Get(ctx, id)
}

// parseExisting returns the ID of the volume that a request is about. It returns rds.ErrNotFound for an ID that isn't
// one of this driver: such a volume can't exist. It returns attach.ErrVersion0 for a volume that v0.x made.
func parseExisting(request interface{ GetVolumeId() string }) (rds.VolumeID, error) {
	if request.GetVolumeId() == "" {
		return rds.VolumeID{}, &failure.InvalidError{Field: "volume_id", Want: "one"}
	}
	if err := attach.CheckVersion(request.GetVolumeId()); err != nil {
		return rds.VolumeID{}, err
	}
	id, err := rds.ParseVolumeID(request.GetVolumeId())
	if err != nil {
		return rds.VolumeID{}, fmt.Errorf("%w: %w", rds.ErrNotFound, err)
	}
	return id, nil
}

// granted returns the highest generation at which the volume is known to be granted.
func (c *Service) granted(id rds.VolumeID) uint64 { return c.nodes.Granted(id.String()).Generation }
