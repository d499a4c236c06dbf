package attach

import (
	"errors"
	"strconv"
)

// Grant is what a node was granted when a volume was published to it. ControllerPublishVolume returns it in the publish
// context, and external-attacher stores that as the VolumeAttachment's attachmentMetadata. So Kubernetes remembers the
// grant even if the appliance forgets it.
type Grant struct {
	// Node is the machine that the volume was published to. A new machine of the same name may find the attachment of its
	// predecessor, and must not use this grant.
	Node NodeID
	// SubsystemNQN contains the epoch.
	SubsystemNQN string
	// Generation is the generation of the record that was written; 1 or more.
	Generation uint64
	// Access, Mode and ReadOnly have the values of Record.
	Access, Mode string
	ReadOnly     bool
}

// The keys of a grant in a publish context, and so in attachmentMetadata. Clusters store them, so they must never
// change.
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

// ParseGrant reads what Encode wrote. It returns false if any key is missing or invalid.
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
