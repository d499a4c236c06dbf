package attach

import (
	"slices"
	"time"
)

// Request is a node's wish to hold a volume.
type Request struct {
	Node NodeID
	// Access and Mode are in the record's words, ReadOnly as CSI has it.
	Access, Mode string
	ReadOnly     bool
}

// Record is who holds a volume, as the appliance has it.
type Record struct {
	Holders      []NodeID
	Access, Mode string
	ReadOnly     bool
}

// Verdict is the kind of a decision.
type Verdict int

// The verdicts.
const (
	// Unknown: answer UNAVAILABLE and change nothing. It is the zero value, so that a forgotten case fails closed.
	Unknown Verdict = iota
	// AlreadyPublished: the node is the holder already; give the same answer as before.
	AlreadyPublished
	// Publish: nobody holds the volume; take it.
	Publish
	// HandOff: the holder is leaving within the grace period; fence it and take the volume.
	HandOff
	// TakeOver: the holder is gone or was detached without the appliance's knowledge; fence it and take the volume.
	TakeOver
	// Incompatible: the node is the holder already, in another way.
	Incompatible
	// Conflict: somebody else holds the volume by right.
	Conflict
)

// Verdicts lists every verdict, so that each can be counted from zero.
func Verdicts() []Verdict {
	return []Verdict{Unknown, AlreadyPublished, Publish, HandOff, TakeOver, Incompatible, Conflict}
}

// String names the verdict as logs and metrics have it.
func (v Verdict) String() string {
	switch v {
	case Unknown:
		return "unknown"
	case AlreadyPublished:
		return "already_published"
	case Publish:
		return "publish"
	case HandOff:
		return "hand_off"
	case TakeOver:
		return "take_over"
	case Incompatible:
		return "incompatible"
	case Conflict:
		return "conflict"
	default:
		return "invalid"
	}
}

// Decision is the answer to a request.
type Decision struct {
	Verdict Verdict
	// Over is the holder that the verdict is about: fenced, in the way, or unknown. Zero if there is none.
	Over Holder
}

// Decide answers a request for a single-writer volume. It is total and has no side effects. Holders must carry what is
// known, from live answers, of each holder in the record; one that is missing counts as unknown. The grace period is
// how long a holder may have been detaching for the volume to be handed off: it is the holder's own detaching that
// counts, so a hand-off from a to b never opens the volume for c.
func Decide(request Request, record Record, holders []Holder, now time.Time, grace time.Duration) Decision {
	if slices.Contains(record.Holders, request.Node) && len(record.Holders) == 1 {
		if request.Access != record.Access || request.Mode != record.Mode || request.ReadOnly != record.ReadOnly {
			return Decision{Verdict: Incompatible, Over: Holder{ID: request.Node}}
		}
		return Decision{Verdict: AlreadyPublished}
	}
	decision := Decision{Verdict: Publish}
	for _, id := range record.Holders {
		if id == request.Node {
			continue
		}
		over := knownOf(id, holders)
		if verdict := verdictOver(over, now, grace); rank(verdict) > rank(decision.Verdict) {
			decision = Decision{Verdict: verdict, Over: over}
		}
	}
	return decision
}

func knownOf(id NodeID, holders []Holder) Holder {
	if i := slices.IndexFunc(holders, func(holder Holder) bool { return holder.ID == id }); i >= 0 {
		return holders[i]
	}
	return Holder{ID: id, Standing: StandingUnknown}
}

func verdictOver(holder Holder, now time.Time, grace time.Duration) Verdict {
	switch holder.Standing {
	case StandingGone, StandingDetached:
		return TakeOver
	case StandingDetaching:
		if now.Sub(holder.DetachingSince) < grace {
			return HandOff
		}
		return Conflict
	case StandingAttached:
		return Conflict
	case StandingUnknown:
		return Unknown
	default:
		return Unknown
	}
}

// rank orders the verdicts over several holders: the one that allows least wins.
func rank(verdict Verdict) int {
	return slices.Index([]Verdict{Publish, TakeOver, HandOff, Unknown, Conflict}, verdict)
}
