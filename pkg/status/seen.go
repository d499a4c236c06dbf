package status

import (
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
)

// Seen is what was read at about one moment.
type Seen struct {
	Now         time.Time
	Volumes     []Volume
	Attachments []Attachment
	// Nodes are all Nodes of the cluster.
	Nodes []Node
	// Appliance is nil if the appliance wasn't asked.
	Appliance *Appliance
}

// Volume is a PersistentVolume of this driver.
type Volume struct {
	Name, Handle string
	// Claim is "namespace/name", or empty.
	Claim string
	// Size and Phase are as the API server has them.
	Size, Phase string
	// Message says why the phase is Failed.
	Message string
}

// Attachment is a VolumeAttachment of this driver.
type Attachment struct {
	attach.Attachment

	// AttachError and DetachError are what external-attacher reported last, or empty.
	AttachError, DetachError string
	// Pods are those on the node that use the volume, as namespace/name. They are read only if the node is missing or is
	// another machine.
	Pods []string
}

// Node is a Node of the cluster.
type Node struct {
	attach.Node

	// Ready is the status of the condition of that name: "True", "False" or "Unknown".
	Ready string
	// ID is the node ID under which the driver is registered in the CSINode, or empty if it isn't. Most is the greatest
	// number of volumes; 0 if none is known.
	ID   string
	Most int32
}

// Appliance is what the appliance has.
type Appliance struct {
	// Err is why it couldn't be read; the rest is empty then.
	Err error
	// Records are those of this cluster's disks, by handle.
	Records map[string]Record
	// Orphans are what has no counterpart on the other side.
	Orphans []attach.Orphan
}

// Record is the record of one disk.
type Record struct {
	attach.Record

	// Epoch is empty if nobody holds the volume.
	Epoch string
}
