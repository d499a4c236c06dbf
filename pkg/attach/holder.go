package attach

import "time"

// HolderState is what is known of a holder.
type HolderState int

// The states, from the least that is known to the most that speaks for the holder.
const (
	// HolderUnknown: the API server wasn't asked or didn't answer. Nothing may be done on it.
	HolderUnknown HolderState = iota
	// HolderGone: its machine is gone.
	HolderGone
	// HolderDetached: its Node exists, its attachment doesn't.
	HolderDetached
	// HolderDetaching: the deletion of its attachment was asked for.
	HolderDetaching
	// HolderAttached: it holds the volume by right.
	HolderAttached
	// HolderInUse: its Node reports another machine by now, and yet that it uses the volume. The machine may have changed
	// its identity while it ran; taking its access away would then cut off a live writer.
	HolderInUse
	// HolderGonePaused: its machine is gone, but so many nodes vanished at once that take-over is paused.
	HolderGonePaused
)

// String names the state as logs have it.
func (s HolderState) String() string {
	return nameOf(s, []string{
		"unknown", "gone", "detached", "detaching", "attached",
		"in use by a machine that changed its identity", "gone, but too many nodes vanished at once",
	})
}

// Holder is a holder in the record, with what is known of it.
type Holder struct {
	ID    NodeID
	State HolderState
	// DetachingSince is set for HolderDetaching, and for HolderInUse if the deletion of the node's attachment was asked for.
	DetachingSince time.Time
}

// Answer is what the API server answered when it was asked for one object, live.
type Answer[T any] struct {
	Value T
	Found bool
	Err   error
}

// Judge returns the state of a holder of a volume from live answers about its Node and its attachment. An error makes the
// state unknown, and an unknown identity never proves that a machine is gone.
func Judge(id NodeID, volumeHandle string, node Answer[Node], attachment Answer[Attachment]) Holder {
	where := presenceOf(id.Machine, volumeHandle, attachment.Value.Since, node)
	switch {
	case where == absent:
		return Holder{ID: id, State: HolderGone}
	case where == presenceUnknown, attachment.Err != nil:
		return Holder{ID: id, State: HolderUnknown}
	case where == changed:
		return Holder{ID: id, State: HolderInUse, DetachingSince: attachment.Value.DetachingSince}
	case !attachment.Found:
		return Holder{ID: id, State: HolderDetached}
	case attachment.Value.Detaching():
		return Holder{ID: id, State: HolderDetaching, DetachingSince: attachment.Value.DetachingSince}
	default:
		return Holder{ID: id, State: HolderAttached}
	}
}
