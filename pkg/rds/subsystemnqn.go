package rds

import "strings"

const (
	// nqnPrefix begins every subsystem NQN of this driver; slot and epoch follow.
	nqnPrefix = "nqn.2026-11.io.srvlab.csi.rds:"
	// idlePrefix begins, in place of an epoch, the subsystem NQN of a disk without a holder; a token follows.
	idlePrefix = "idle-"
	// unfinishedPrefix begins, in place of an epoch, the subsystem NQN of a disk whose file was found. That file may be shorter
	// than what was asked for: the Create that made it may have been interrupted, and so may the one that lets it grow. Growing
	// leaves the NQN alone; the first holder's epoch replaces it. So a volume that ever had a holder doesn't grow because of a
	// Create.
	unfinishedPrefix = "unfinished-"
)

// SubsystemsPrefix begins every subsystem NQN of this driver.
func SubsystemsPrefix() string { return nqnPrefix }

// SubsystemPrefix begins every subsystem NQN that was or will be issued for this volume, whatever its epoch.
func (id VolumeID) SubsystemPrefix() string { return nqnPrefix + id.slot + ":" }

// Epoch returns the epoch in a subsystem NQN of this volume. It returns false if the NQN has none, or is of another volume.
func (id VolumeID) Epoch(subsystemNQN string) (string, bool) {
	epoch, found := strings.CutPrefix(subsystemNQN, id.SubsystemPrefix())
	return epoch, found && validToken(epoch)
}

// SubsystemNQN returns the only subsystem NQN under which this volume may be reachable while its disk has this record.
// Without a holder it is one that no node ever knew.
func (r Record) SubsystemNQN(id VolumeID) string {
	if !r.Held() {
		return id.SubsystemPrefix() + idlePrefix + r.Token
	}
	return id.SubsystemPrefix() + r.Holding.Epoch
}

// unfinished reports whether the disk was made on a file that was found, and has had no holder since.
func (d Disk) unfinished() bool {
	return !d.Record.Held() && strings.HasPrefix(d.SubsystemNQN, d.ID.SubsystemPrefix()+unfinishedPrefix)
}
