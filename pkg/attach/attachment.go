package attach

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"time"
)

// Attachment is one VolumeAttachment of this driver, reduced to what decides.
type Attachment struct {
	// Name, UID and ResourceVersion identify the object and the version of it that was seen.
	Name, UID, ResourceVersion string
	// NodeName is the node that the volume is, or is to be, attached to.
	NodeName string
	// NodeID is the CSI node ID that external-attacher noted, or empty where it hasn't yet.
	NodeID string
	// PV is the name of the PersistentVolume; empty for a volume written into a pod, which this driver doesn't offer.
	PV string
	// Volume is the handle of that PersistentVolume, or empty where it isn't known or isn't this driver's.
	Volume string
	// Attached is what external-attacher reported, and Grant what the node was given; a grant that can't be read is zero.
	Attached bool
	Grant    Grant
	// Since is when it was made, in whole seconds.
	Since time.Time
	// DetachingSince is when its deletion was asked for; zero means that it wasn't.
	DetachingSince time.Time
}

// Detaching tells whether the attachment's deletion was asked for.
func (a Attachment) Detaching() bool { return !a.DetachingSince.IsZero() }

// Machine is the identity of the machine that the attachment is for, or empty where nobody noted it yet.
func (a Attachment) Machine() string {
	id, err := ParseNodeID(a.NodeID)
	if err != nil {
		return ""
	}
	return id.Machine
}

// ForAnother tells whether what the node was given was given to another machine than the attachment is for. The node never uses
// it, even if the appliance would let that machine in.
func (a Attachment) ForAnother() bool {
	return a.Grant != (Grant{}) && a.NodeID != "" && a.NodeID != a.Grant.Node.String()
}

// AttachmentName computes the name that Kubernetes gives to the VolumeAttachment of a volume on a node, so that it can
// be asked for without a search (kubernetes/pkg/volume/csi, getAttachmentName).
func AttachmentName(volumeHandle, driver, nodeName string) string {
	sum := sha256.Sum256([]byte(volumeHandle + driver + nodeName))
	return "csi-" + hex.EncodeToString(sum[:])
}

// Node is one Node object, reduced to what decides.
type Node struct {
	Name string
	// Since is when the Node was made, in whole seconds.
	Since time.Time
	// Machine is the identity that the Node reports; empty proves nothing.
	Machine string
	// Leaving is set if the Node is being deleted or has the taint node.kubernetes.io/out-of-service.
	Leaving bool
	// VolumesInUse are the handles of this driver's volumes that its kubelet reported as in use.
	VolumesInUse []string
}

// IsMachine tells whether this Node may be the machine with that identity. Only two identities that are both known and
// differ prove that it isn't.
func (n Node) IsMachine(identity string) bool {
	return n.Machine == "" || identity == "" || n.Machine == identity
}

// Uses tells whether the node's kubelet reported the volume as in use.
func (n Node) Uses(volumeHandle string) bool { return slices.Contains(n.VolumesInUse, volumeHandle) }
