package attach

import "time"

// HolderState is what is known of a holder.
type HolderState int

// The states.
const (
	// HolderUnknown: the API server wasn't asked or didn't answer. Nothing may be changed.
	HolderUnknown HolderState = iota
	// HolderGone: its machine is gone.
	HolderGone
	// HolderDetached: its Node exists, its attachment doesn't.
	HolderDetached
	// HolderDetaching: its attachment is being deleted.
	HolderDetaching
	// HolderAttached: its Node and its attachment exist.
	HolderAttached
	// HolderInUse: its Node reports another machine now, but the volume as in use. The machine may have changed its
	// identity while it ran. To revoke its access could then cut off a live writer.
	HolderInUse
	// HolderGonePaused: its machine is gone, but take-over is paused, or hasn't begun.
	HolderGonePaused
)

// String returns the state in words, for logs and errors.
func (s HolderState) String() string {
	return nameOf(s, []string{
		"unknown", "gone", "detached", "detaching", "attached",
		"in use by a machine that changed its identity", "gone, but take-over is paused",
	})
}

// Holder is a holder in the record, with its state.
type Holder struct {
	ID    NodeID
	State HolderState
	// DetachingSince is set for HolderDetaching, and for HolderInUse if the attachment of the node is being deleted.
	DetachingSince time.Time
}

// Answer is a live answer about one object. Value is only valid if Found is set. If Err is nil and Found isn't set, the
// object provably doesn't exist.
type Answer[T any] struct {
	Value T
	Found bool
	Err   error
}

// Judge returns the state of a holder of a volume, from live answers about its Node and its attachment. It returns
// HolderUnknown if an answer that matters is an error. An unknown identity never proves that a machine is gone.
func Judge(id NodeID, volumeHandle string, node Answer[Node], attachment Answer[Attachment]) Holder {
	where := presenceOf(id.Machine, volumeHandle, attachment.Value.Since, node)
	switch {
	case where == absent:
		return Holder{ID: id, State: HolderGone}
	case where == presenceUnknown, attachment.Err != nil:
		return Holder{ID: id, State: HolderUnknown}
	case where == identityChanged:
		return Holder{ID: id, State: HolderInUse, DetachingSince: attachment.Value.DetachingSince}
	case !attachment.Found:
		return Holder{ID: id, State: HolderDetached}
	case attachment.Value.Detaching():
		return Holder{ID: id, State: HolderDetaching, DetachingSince: attachment.Value.DetachingSince}
	default:
		return Holder{ID: id, State: HolderAttached}
	}
}
