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
	// Granted is the highest generation that any attachment of the volume carries, 0 if none is known.
	Granted uint64
}

// Policy is what an administrator decides about publishing.
type Policy struct {
	// Grace is how long a holder may have been detaching for its volume to be handed off, and how far ahead of now that may
	// have begun, since clocks differ.
	Grace time.Duration
	// AllowUnfenced lets a node join a shared epoch although a host that departed from it may still be connected.
	AllowUnfenced bool
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
	// Join: the volume may be shared, its one holder stays, and the node comes in under the same epoch.
	Join
	// Incompatible: the node is a holder already, in another way.
	Incompatible
	// Conflict: somebody else holds the volume by right.
	Conflict
	// Unfenced: the node could join, but a host that departed from this epoch may still be connected.
	Unfenced
	// WentBack: the record is older than what was granted; it must be restored before anything is decided on it.
	WentBack
)

// verdictNames are the verdicts as logs and metrics have them, in the order of their values.
func verdictNames() []string {
	return []string{
		"unknown", "already_published", "publish", "hand_off", "take_over", "join", "incompatible", "conflict", "unfenced", "went_back",
	}
}

// Verdicts lists every verdict, so that each can be counted from zero.
func Verdicts() []Verdict {
	var verdicts []Verdict
	for i := range verdictNames() {
		verdicts = append(verdicts, Verdict(i))
	}
	return verdicts
}

// String names the verdict as logs and metrics have it.
func (v Verdict) String() string { return nameOf(v, verdictNames()) }

func nameOf[T ~int](value T, names []string) string {
	if value < 0 || int(value) >= len(names) {
		return "invalid"
	}
	return names[value]
}

// Decision is the answer to a request.
type Decision struct {
	Verdict Verdict
	// Over is the holder that the verdict is about: fenced, joined, in the way, departed, or unknown. Zero if there is none.
	Over Holder
	// Detaching is set with Conflict to a holder that is detaching: waiting for it will help.
	Detaching NodeID
}

// Decide answers a request. It is total and has no side effects. Holders must carry what is known, from live answers, of
// each holder in the record; one that is missing counts as unknown. It is the holder's own detaching that the grace
// period is counted from, so a hand-off from a to b never opens the volume for c.
func Decide(request Request, record Record, holders []Holder, now time.Time, policy Policy) Decision {
	if record.WentBack(request.Granted) {
		return Decision{Verdict: WentBack}
	}
	if slices.Contains(record.Holders, request.Node) && (len(record.Holders) == 1 || Shared(record.Access, record.Mode)) {
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
		verdict := verdictOver(over, now, policy.Grace)
		if over.State == HolderDetaching {
			decision.Detaching = id
		}
		if rank(verdict) > rank(decision.Verdict) {
			decision.Verdict, decision.Over = verdict, over
		}
	}
	if decision.Verdict != Conflict {
		return Decision{Verdict: decision.Verdict, Over: decision.Over}
	}
	if Shared(request.Access, request.Mode) && Shared(record.Access, record.Mode) {
		return join(request, record, decision, policy)
	}
	if decision.Over.State != HolderDetaching {
		// One that stays blocks the way, whoever else leaves.
		decision.Detaching = NodeID{}
	}
	return decision
}

// join answers a request for a volume that may be shared and whose holders stay: conflict says who is in the way.
func join(request Request, record Record, conflict Decision, policy Policy) Decision {
	sameName := func(holder NodeID) bool { return holder.Name == request.Node.Name }
	if len(record.Holders) >= maxHolders || request.ReadOnly != record.ReadOnly || slices.ContainsFunc(record.Holders, sameName) {
		return conflict
	}
	for _, departed := range record.Departed {
		if departed != request.Node && !policy.AllowUnfenced {
			return Decision{Verdict: Unfenced, Over: Holder{ID: departed}}
		}
	}
	return Decision{Verdict: Join, Over: conflict.Over}
}

func knownOf(id NodeID, holders []Holder) Holder {
	if i := slices.IndexFunc(holders, func(holder Holder) bool { return holder.ID == id }); i >= 0 {
		return holders[i]
	}
	return Holder{ID: id, State: HolderUnknown}
}

func verdictOver(holder Holder, now time.Time, grace time.Duration) Verdict {
	switch holder.State {
	case HolderGone, HolderDetached:
		return TakeOver
	case HolderDetaching:
		// Both ends of the range matter: the API server's clock wrote the time, and it may be ahead of this process's clock.
		if elapsed := now.Sub(holder.DetachingSince); -grace <= elapsed && elapsed < grace {
			return HandOff
		}
		return Conflict
	case HolderAttached, HolderInUse:
		return Conflict
	default:
		return Unknown
	}
}

// rank orders the verdicts over several holders: the one that allows least wins.
func rank(verdict Verdict) int {
	return slices.Index([]Verdict{Publish, TakeOver, HandOff, Unknown, Conflict}, verdict)
}
