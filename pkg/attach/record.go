package attach

import "slices"

// The access types, as records have them.
const (
	AccessMount = "mount"
	AccessBlock = "block"
)

// ModeMultiWriter, with AccessBlock, is the one way in which two nodes may hold a volume: both write while a virtual
// machine moves from one to the other.
const ModeMultiWriter = "multi-node-multi-writer"

// maxHolders is how many nodes may hold a volume that may be shared at all: a migration has two ends.
const maxHolders = 2

// Record is who holds a volume, as the appliance has it.
type Record struct {
	Holders []NodeID
	// Departed left while another holder stayed on under the same epoch, and no living node was seen letting go: their
	// connections may still be there.
	Departed     []NodeID
	Access, Mode string
	ReadOnly     bool
	// SubsystemNQN is the only one under which the volume may be reached, and Reachable says that it is. A held volume isn't
	// where a write was cut short, by a power cut say, or where somebody else took its export away.
	SubsystemNQN string
	Reachable    bool
	// Generation grows with every write. One that is lower than a grant's shows an appliance that went back in time.
	Generation uint64
}

// Shared tells whether a holding of this kind may have two holders.
func Shared(access, mode string) bool { return access == AccessBlock && mode == ModeMultiWriter }

// Admits tells whether the grant is a living one: its subsystem is the one that this record names, and its node is a
// holder.
func (r Record) Admits(grant Grant) bool {
	return grant.SubsystemNQN == r.SubsystemNQN && slices.Contains(r.Holders, grant.Node)
}

// WentBack tells whether the record is older than one that was granted: the appliance lost what it had written.
func (r Record) WentBack(granted uint64) bool { return r.Generation < granted }
