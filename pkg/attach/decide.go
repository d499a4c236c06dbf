package attach

import (
	"slices"
	"time"
)

// Request is a request to publish a volume to a node.
type Request struct {
	Node NodeID
	// Access, Mode and ReadOnly have the values of Record.
	Access, Mode string
	ReadOnly     bool
	// Granted is the highest generation that any attachment of the volume carries; 0 if none is known.
	Granted uint64
}

// Policy is what an administrator configures about publishing.
type Policy struct {
	// Grace is for how long a volume may be handed off after its holder began to detach; 0 or more. Clocks differ, so the
	// beginning may also be that far in the future.
	Grace time.Duration
	// AllowUnfenced lets a node join a volume although a departed host may still be connected under the same epoch.
	AllowUnfenced bool
}

// Verdict is the kind of a decision.
type Verdict int

// The verdicts.
const (
	// Unknown: answer UNAVAILABLE and change nothing. It is the zero value, so that a forgotten case fails closed.
	Unknown Verdict = iota
	// AlreadyPublished: the node is a holder already; return the same answer as before.
	AlreadyPublished
	// Publish: the volume has no holder; publish it.
	Publish
	// HandOff: the holder has been detaching for less than the grace period; fence it and publish the volume.
	HandOff
	// TakeOver: the holder is gone, or its attachment is; fence it and publish the volume.
	TakeOver
	// Join: the volume may be shared and has one other holder, which stays; the node joins the holder's epoch.
	Join
	// Incompatible: the node is a holder already, with another access type, mode or read-only flag.
	Incompatible
	// Conflict: another holder stays, or has been detaching for longer than the grace period.
	Conflict
	// Unfenced: the node could join, but a departed host may still be connected under the same epoch.
	Unfenced
	// WentBack: the appliance went back in time; the volume must be restored before anything is decided on its record.
	WentBack
)

// verdictNames returns the names of the verdicts in logs and metrics, in the order of their values.
func verdictNames() []string {
	return []string{
		"unknown", "already_published", "publish", "hand_off", "take_over", "join", "incompatible", "conflict", "unfenced", "went_back",
	}
}

// Verdicts returns every verdict, so that each can be counted from zero.
func Verdicts() []Verdict {
	var verdicts []Verdict
	for i := range verdictNames() {
		verdicts = append(verdicts, Verdict(i))
	}
	return verdicts
}

// String returns the name of the verdict in logs and metrics.
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
	// Over is the holder that the verdict is about: the one to fence, to join or to wait for, the departed one, or the one
	// whose state is unknown. It is zero if there is none.
	Over Holder
	// Detaching is set only with Conflict: it is a holder that is detaching, so the conflict may end by itself.
	Detaching NodeID
}

// Decide answers a request. It handles any input and has no side effects. holders are the states of the record's
// holders, from live answers; a holder that is missing counts as unknown. The grace period is counted from the
// detaching of the holder itself, so after a hand-off from a to b, c can't claim the volume.
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
		over := findHolder(id, holders)
		verdict := verdictFor(over, now, policy.Grace)
		if over.State == HolderDetaching {
			decision.Detaching = id
		}
		if outranks(verdict, decision) {
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
		// This holder stays, so it doesn't help to wait for another one.
		decision.Detaching = NodeID{}
	}
	return decision
}

// join answers a request for a volume that may be shared and whose holders stay. It returns conflict if the node can't
// join.
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

// findHolder returns what is known of the holder with this ID.
func findHolder(id NodeID, holders []Holder) Holder {
	if i := slices.IndexFunc(holders, func(holder Holder) bool { return holder.ID == id }); i >= 0 {
		return holders[i]
	}
	return Holder{ID: id, State: HolderUnknown}
}

// verdictFor returns the verdict if the holder were the only one.
func verdictFor(holder Holder, now time.Time, grace time.Duration) Verdict {
	switch holder.State {
	case HolderGone, HolderDetached:
		return TakeOver
	case HolderDetaching:
		// The API server's clock set DetachingSince, and that clock may be ahead of this one.
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

// outranks reports whether the verdict on one more holder replaces the decision so far. A conflict with a holder that is
// detaching may end by itself, so it yields to any other conflict.
func outranks(verdict Verdict, decision Decision) bool {
	if verdict == Conflict && decision.Verdict == Conflict {
		return decision.Over.State == HolderDetaching
	}
	return rank(verdict) > rank(decision.Verdict)
}

// rank orders the verdicts for several holders: the most restrictive one wins.
func rank(verdict Verdict) int {
	return slices.Index([]Verdict{Publish, TakeOver, HandOff, Unknown, Conflict}, verdict)
}
