package attach

import (
	"errors"
	"strconv"
)

// Grant is what a node was given when a volume was published to it. ControllerPublishVolume puts it into the publish
// context, which external-attacher keeps as the VolumeAttachment's attachmentMetadata: so Kubernetes remembers what the
// appliance had agreed to, even if the appliance forgets.
type Grant struct {
	// Node is the machine that it was given to. A machine that is made anew under its name finds the attachment of its
	// predecessor, and must not use it.
	Node NodeID
	// SubsystemNQN carries the epoch.
	SubsystemNQN string
	// Generation is the record's when it was written; 1 or more.
	Generation uint64
	// Access, Mode and ReadOnly are the record's words for how the volume is held.
	Access, Mode string
	ReadOnly     bool
}

// The keys of a grant in a publish context, and so in attachmentMetadata. They are stored by clusters: never change one.
const (
	KeySubsystemNQN = "subsystemNQN"
	keyNode         = "nodeID"
	keyGeneration   = "generation"
	keyAccess       = "access"
	keyMode         = "mode"
	keyReadOnly     = "readOnly"
)

// Encode writes the grant into a publish context.
func (g Grant) Encode(publishContext map[string]string) {
	publishContext[keyNode] = g.Node.String()
	publishContext[KeySubsystemNQN] = g.SubsystemNQN
	publishContext[keyGeneration] = strconv.FormatUint(g.Generation, 10)
	publishContext[keyAccess] = g.Access
	publishContext[keyMode] = g.Mode
	publishContext[keyReadOnly] = strconv.FormatBool(g.ReadOnly)
}

// ParseGrant reads what Encode wrote. It returns false for anything else: what can't be read proves nothing.
func ParseGrant(publishContext map[string]string) (Grant, bool) {
	node, badNode := ParseNodeID(publishContext[keyNode])
	generation, badGeneration := strconv.ParseUint(publishContext[keyGeneration], 10, 64)
	readOnly, badReadOnly := strconv.ParseBool(publishContext[keyReadOnly])
	grant := Grant{
		Node: node, SubsystemNQN: publishContext[KeySubsystemNQN], Generation: generation,
		Access: publishContext[keyAccess], Mode: publishContext[keyMode], ReadOnly: readOnly,
	}
	if errors.Join(badNode, badGeneration, badReadOnly) != nil ||
		grant.Generation == 0 || grant.SubsystemNQN == "" || grant.Access == "" || grant.Mode == "" {
		return Grant{}, false
	}
	return grant, true
}
