package attach

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"time"
)

// Attachment is one VolumeAttachment of this driver, reduced to the fields that decisions need.
type Attachment struct {
	// Name, UID and ResourceVersion identify the object and the version of it that was read.
	Name, UID, ResourceVersion string
	// NodeName is the node that the volume is, or will be, attached to.
	NodeName string
	// NodeID is the CSI node ID that external-attacher wrote, or empty if it hasn't yet.
	NodeID string
	// PV is the name of the PersistentVolume. It is empty for an inline volume, which this driver doesn't offer.
	PV string
	// Volume is the handle of that PersistentVolume. It is empty if the handle isn't known or isn't this driver's.
	Volume string
	// Attached is the status that external-attacher reported.
	Attached bool
	// Grant is what the node was granted. It is zero if there is none or it can't be read.
	Grant Grant
	// Since is when the attachment was created, in whole seconds.
	Since time.Time
	// DetachingSince is when the deletion of the attachment was requested. It is zero if it wasn't.
	DetachingSince time.Time
}

// Detaching reports whether the deletion of the attachment was requested.
func (a Attachment) Detaching() bool { return !a.DetachingSince.IsZero() }

// Machine returns the identity of the machine that the attachment is for, or "" if the attachment has no valid node ID.
func (a Attachment) Machine() string {
	id, err := ParseNodeID(a.NodeID)
	if err != nil {
		return ""
	}
	return id.Machine
}

// ForAnother reports whether the grant is for another machine than the attachment. The node never uses such a grant,
// even if the appliance would still admit that machine.
func (a Attachment) ForAnother() bool {
	return a.Grant != (Grant{}) && a.NodeID != "" && a.NodeID != a.Grant.Node.String()
}

// AttachmentName returns the name that Kubernetes gives to the VolumeAttachment of a volume on a node. So one can be
// read without a list (kubernetes/pkg/volume/csi, getAttachmentName).
func AttachmentName(volumeHandle, driver, nodeName string) string {
	sum := sha256.Sum256([]byte(volumeHandle + driver + nodeName))
	return "csi-" + hex.EncodeToString(sum[:])
}

// Node is one Node object, reduced to the fields that decisions need.
type Node struct {
	Name string
	// Since is when the Node was created, in whole seconds.
	Since time.Time
	// Machine is the identity that the Node reports. An empty one or another placeholder proves nothing.
	Machine string
	// Leaving is set if the Node is being deleted or has the taint node.kubernetes.io/out-of-service.
	Leaving bool
	// VolumesInUse are the handles of this driver's volumes that the Node reports as in use.
	VolumesInUse []string
}

// IsMachine reports whether this Node may be the machine with that identity. It returns false only if both identities
// are known and differ; a placeholder isn't known.
func (n Node) IsMachine(identity string) bool {
	return IsPlaceholder(n.Machine) || IsPlaceholder(identity) || n.Machine == identity
}

// Uses reports whether the Node reports the volume as in use.
func (n Node) Uses(volumeHandle string) bool { return slices.Contains(n.VolumesInUse, volumeHandle) }
