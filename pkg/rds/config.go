package rds

import (
	"strconv"
	"time"
)

// DefaultBootWindow is how long after its start an appliance may still answer with empty lists.
const DefaultBootWindow = 2 * time.Minute

// DefaultListingDelay is how long /file may leave out a file that is there: up to seconds were measured on devices.
const DefaultListingDelay = 2 * time.Second

// Config says for which cluster disks are made, and how they are exported.
type Config struct {
	// ClusterID is in every record and in the path of every backing file. What is of other clusters is never touched.
	ClusterID string
	// Port is the NVMe/TCP port on which disks are exported, 1 to 65535.
	Port uint16
	// BootWindow is how long after its start the appliance's silence about a disk proves nothing.
	BootWindow time.Duration
	// ListingDelay is how long /file may leave out a file that is there. Where the appliance has no SFTP for the driver, a
	// Delete takes so much longer; so may the first Create of a cluster on a pool.
	ListingDelay time.Duration

	// HostNQN, unless nil, returns the host NQN of the node with this ID. An export with one holder then admits that host
	// only. This is a second lock beside the epoch and no fence by itself: a host that is connected stays connected when
	// another one is allowed.
	HostNQN func(nodeID string) string

	// Observe, unless nil, is called for every command that was carried out or tried, from many goroutines.
	Observe func(kind Kind, outcome Outcome, took time.Duration)
	// ObservePools and ObserveVersion, unless nil, are called with the pools, and with RouterOS's version, of every reply that
	// has them, from many goroutines. Nothing is asked for their sake alone.
	ObservePools   func(Pools)
	ObserveVersion func(string)
	// ObserveFence, unless nil, is called for every attempt to revoke access to an exported disk, from many goroutines.
	ObserveFence func(outcome FenceOutcome, took time.Duration)
}

// check looks at every field. Errors are *FieldError.
func (c Config) check() error {
	if !validElement(c.ClusterID) || len(c.ClusterID) > 64 {
		return &FieldError{Field: "cluster ID", Value: c.ClusterID, Want: "at most 64 " + wantElement}
	}
	if c.Port == 0 {
		return &FieldError{Field: "NVMe/TCP port", Value: strconv.Itoa(int(c.Port)), Want: "1 to 65535"}
	}
	return nil
}
