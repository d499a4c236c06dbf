package attach

import "time"

// presence says whether the machine that a volume was attached to still exists.
type presence int

const (
	// presenceUnknown: the API server didn't answer, which proves nothing.
	presenceUnknown presence = iota
	// absent: the Node provably doesn't exist, or is another machine now. The machine counts as gone.
	absent
	// identityChanged: the Node reports another machine identity, but the volume as in use. Its machine may have changed
	// its identity while it ran, so it doesn't count as gone.
	identityChanged
	// present: the Node exists, and nothing proves that it is another machine.
	present
)

// presenceOf is the one definition of a machine that is gone. machine is its identity. attached is when the volume was
// attached to it, or zero if that isn't known.
//
// A Node that is younger than the attachment was created after the first Node was deleted. Its report of the volume as
// in use doesn't prove that the old machine lives: kubelet already reports a volume when a pod waits for it.
func presenceOf(machine, volumeHandle string, attached time.Time, node Answer[Node]) presence {
	switch {
	case node.Err != nil:
		return presenceUnknown
	case !node.Found:
		return absent
	case node.Value.IsMachine(machine):
		return present
	case node.Value.Uses(volumeHandle) && (attached.IsZero() || !attached.Before(node.Value.Since)):
		return identityChanged
	default:
		return absent
	}
}

// stoppedUsing reports whether a machine has provably stopped using a volume. Its Node must exist, report this very
// machine, not be leaving, and not report the volume as in use.
//
// The Node must also be older than the attachment. A younger one was created while its machine had the volume already,
// and its kubelet may not have reported yet what is in use.
func stoppedUsing(id NodeID, volumeHandle string, node Answer[Node], attachment Answer[Attachment]) bool {
	if node.Err != nil || !node.Found || attachment.Err != nil || !attachment.Found {
		return false
	}
	reported := node.Value
	return reported.Machine == id.Machine && !IsPlaceholder(id.Machine) && !reported.Leaving && !reported.Uses(volumeHandle) && reported.Since.Before(attachment.Value.Since)
}
