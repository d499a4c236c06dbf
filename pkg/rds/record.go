package rds

import (
	"slices"
	"time"
)

// Record says who holds a volume and under which epoch. It is stored on the disk itself, as its comment: the appliance
// knows the holder, and no controller has to. A Record is a value: its methods return changed copies.
type Record struct {
	// Cluster is the ID of the cluster that the volume belongs to.
	Cluster string
	// Volume is the CSI name that the volume was created under.
	Volume string
	// PV and PVC ("namespace/name") are for people who look at the appliance. They're left out when they don't fit.
	PV, PVC string
	// Generation grows with every write, through unpublish too, and never falls.
	Generation uint64
	// Token is random and new with every write, so that nothing in flight can match a later comment.
	Token string
	// Holding is how the volume is held; its zero value means that nobody holds it.
	Holding Holding
}

// Holding is one holding of a volume: by whom, how, and under which epoch.
type Holding struct {
	// Epoch is the random part of the subsystem NQN that was issued for this holding.
	Epoch string
	// Access is "mount" or "block".
	Access string
	// Mode is the access mode, such as "single-node-writer".
	Mode string
	// ReadOnly says that the holder asked for read-only access.
	ReadOnly bool
	// Holders are the node IDs that the appliance admits.
	Holders []string
	// Departed are node IDs that left while another holder stayed on under the same epoch. Nobody saw them stop using the
	// volume, so only a new epoch is sure to cut them off.
	Departed []string
}

// NewRecord returns the record of a volume that nobody holds yet, created under name. A name of PV or PVC that doesn't fit
// is left out.
//
// Its generation is the time in milliseconds. So a volume that is made anew under an old name is newer than everything
// that any controller remembers of its predecessor, and isn't taken for an appliance that went back in time.
func NewRecord(id VolumeID, name, pv, pvc string) Record {
	now := uint64(max(time.Now().UnixMilli(), 1))
	return Record{Cluster: id.Cluster(), Volume: name, PV: validOrNone(pv), PVC: validOrNone(pvc), Generation: now, Token: randomToken()}
}

// Held reports whether anybody holds the volume.
func (r Record) Held() bool { return len(r.Holding.Holders) > 0 }

// HeldBy reports whether the node with this ID is a holder.
func (r Record) HeldBy(nodeID string) bool { return slices.Contains(r.Holding.Holders, nodeID) }

// Publish returns the record with a new holder, under a new epoch, which no earlier holder knows.
func (r Record) Publish(nodeID, access, mode string, readOnly bool) Record {
	next := r.touch()
	next.Holding = Holding{Epoch: randomToken(), Access: access, Mode: mode, ReadOnly: readOnly, Holders: []string{nodeID}}
	return next
}

// Join returns the record with one more holder, under the same epoch.
func (r Record) Join(nodeID string) Record {
	next := r.touch()
	next.Holding.Holders = append(next.Holding.Holders, nodeID)
	next.Holding.Departed = slices.DeleteFunc(next.Holding.Departed, func(departed string) bool { return departed == nodeID })
	return next
}

// Unpublish returns the record without this holder; an empty ID stands for all holders. It differs from the old record even
// if the node is no holder: the condition of a publish that is still in flight must not match.
func (r Record) Unpublish(nodeID string) Record {
	next := r.touch()
	next.Holding.Holders = slices.DeleteFunc(next.Holding.Holders, func(holder string) bool { return nodeID == "" || holder == nodeID })
	if !next.Held() {
		next.Holding = Holding{}
	}
	return next
}

// Depart returns the record without a holder that nobody saw stop using the volume. As long as another holder stays on
// under the same epoch, the node can't be cut off, and is listed as departed.
func (r Record) Depart(nodeID string) Record {
	next := r.Unpublish(nodeID)
	if next.Held() && r.HeldBy(nodeID) {
		next.Holding.Departed = append(next.Holding.Departed, nodeID)
	}
	return next
}

// Restore returns the record with a holding that the appliance has lost, and a generation above the lost one. A holding
// without holders stands for none.
func (r Record) Restore(holding Holding, generation uint64) Record {
	next := r.touch()
	next.Holding = holding
	next.Generation = max(next.Generation, generation+1)
	return next
}

// touch returns a copy with the next generation and a new token.
func (r Record) touch() Record {
	r.Generation++
	r.Token = randomToken()
	r.Holding.Holders = slices.Clone(r.Holding.Holders)
	r.Holding.Departed = slices.Clone(r.Holding.Departed)
	return r
}
