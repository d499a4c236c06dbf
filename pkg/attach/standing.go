package attach

import "time"

// Standing is what is known of a holder.
type Standing int

// The standings, from the least that is known to the most that holds on.
const (
	// StandingUnknown: the API server wasn't asked or didn't answer. Nothing may be done on it.
	StandingUnknown Standing = iota
	// StandingGone: its Node is proven not to exist, or to be another machine by now.
	StandingGone
	// StandingDetached: its Node exists, its attachment doesn't.
	StandingDetached
	// StandingDetaching: the deletion of its attachment was asked for.
	StandingDetaching
	// StandingAttached: it holds the volume by right.
	StandingAttached
	// StandingInUse: the Node reports another machine by now, and yet that it uses the volume. Its machine changed its
	// identity while it ran: to cut it off would cut a live writer.
	StandingInUse
	// StandingHeld: it is gone, but so many nodes vanished at once that nothing is taken from any of them for now.
	StandingHeld
)

// String names the standing as logs have it.
func (s Standing) String() string {
	switch s {
	case StandingUnknown:
		return "unknown"
	case StandingGone:
		return "gone"
	case StandingDetached:
		return "detached"
	case StandingDetaching:
		return "detaching"
	case StandingAttached:
		return "attached"
	case StandingInUse:
		return "in use by a machine that changed its identity"
	case StandingHeld:
		return "gone, but too many nodes vanished at once"
	default:
		return "invalid"
	}
}

// Holder is a holder in the record, with what is known of it.
type Holder struct {
	ID       NodeID
	Standing Standing
	// DetachingSince is set for StandingDetaching, and for StandingInUse if the deletion of the node's attachment was asked for.
	DetachingSince time.Time
}

// Answer is what the API server said when asked for one object, live.
type Answer[T any] struct {
	Value T
	Found bool
	Err   error
}

// Judge gives the standing of a holder of a volume from live answers about its Node and its attachment. An error on
// the way to the answer makes the standing unknown, and an unknown identity never proves that a machine is gone.
func Judge(id NodeID, volumeHandle string, node Answer[Node], attachment Answer[Attachment]) Holder {
	holder := Holder{ID: id, Standing: StandingUnknown}
	switch {
	case node.Err != nil:
		return holder
	case !node.Found:
		holder.Standing = StandingGone
		return holder
	case !node.Value.IsMachine(id.Machine) && !node.Value.Uses(volumeHandle):
		holder.Standing = StandingGone
		return holder
	case attachment.Err != nil:
		return holder
	case !node.Value.IsMachine(id.Machine):
		holder.Standing, holder.DetachingSince = StandingInUse, attachment.Value.DetachingSince
	case !attachment.Found:
		holder.Standing = StandingDetached
	case attachment.Value.Detaching():
		holder.Standing, holder.DetachingSince = StandingDetaching, attachment.Value.DetachingSince
	default:
		holder.Standing = StandingAttached
	}
	return holder
}
