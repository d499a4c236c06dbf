package attach

import "slices"

// The access types in a Record.
const (
	AccessMount = "mount"
	AccessBlock = "block"
)

// ModeMultiWriter allows two holders, if the access is AccessBlock: both write while a virtual machine migrates from one
// to the other.
const ModeMultiWriter = "multi-node-multi-writer"

// maxHolders is the maximum number of holders of a shared volume: the two ends of a migration.
const maxHolders = 2

// Record is the appliance's record of a volume.
type Record struct {
	Holders []NodeID
	// Departed are hosts that were unpublished while another holder stayed under the same epoch, without proof that they
	// stopped using the volume. They may still be connected.
	Departed []NodeID
	// Access is AccessMount or AccessBlock. Mode is the CSI access mode in lower case with dashes, such as
	// ModeMultiWriter.
	Access, Mode string
	ReadOnly     bool
	// SubsystemNQN is the only NQN under which the volume may be exported.
	SubsystemNQN string
	// Reachable is set if the volume is exported under SubsystemNQN. A held volume may be unreachable after an interrupted
	// write, or if somebody else switched its export off.
	Reachable bool
	// Generation grows with every write. If it is lower than that of a grant, the appliance went back in time.
	Generation uint64
}

// Shared reports whether a volume with this access type and mode may have two holders.
func Shared(access, mode string) bool { return access == AccessBlock && mode == ModeMultiWriter }

// Admits reports whether the grant's subsystem NQN is that of this record, and the grant's node is one of its holders.
func (r Record) Admits(grant Grant) bool {
	return grant.SubsystemNQN == r.SubsystemNQN && slices.Contains(r.Holders, grant.Node)
}

// WentBack reports whether the appliance went back in time: the record is older than granted, the highest generation
// that was granted.
func (r Record) WentBack(granted uint64) bool { return r.Generation < granted }
