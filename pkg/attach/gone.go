package attach

import "time"

// presence says whether the machine is still there that a volume was attached to.
type presence int

const (
	// presenceUnknown: the API server didn't answer. Nothing may be concluded.
	presenceUnknown presence = iota
	// absent: the Node is proven not to exist, or to be another machine's by now. The machine counts as gone.
	absent
	// changed: the Node reports another machine identity, and yet that it uses the volume. Its machine may have changed its
	// identity while it ran, so it doesn't count as gone.
	changed
	// present: the Node exists, and nothing proves that it is another machine's.
	present
)

// presenceOf is the one definition of a machine that is gone. machine is its identity, and attached is when the volume was
// attached to it, or zero if that isn't known.
//
// A Node that is younger than the attachment was made after the first Node was deleted. So its report of the volume as in
// use isn't about the machine that the volume was attached to: kubelet reports a volume before it has it, for a pod that
// waits.
func presenceOf(machine, volumeHandle string, attached time.Time, node Answer[Node]) presence {
	switch {
	case node.Err != nil:
		return presenceUnknown
	case !node.Found:
		return absent
	case node.Value.IsMachine(machine):
		return present
	case node.Value.Uses(volumeHandle) && (attached.IsZero() || !attached.Before(node.Value.Since)):
		return changed
	default:
		return absent
	}
}

// stoppedUsing is the one definition of a machine that is proven not to use a volume any more: its Node exists, reports
// this very machine, is in service, and doesn't report the volume as in use.
//
// A Node that isn't older than the attachment proves nothing. It was made while its machine had the volume already, and
// its kubelet reports what is in use only some time after it registered.
func stoppedUsing(id NodeID, volumeHandle string, node Answer[Node], attachment Answer[Attachment]) bool {
	if node.Err != nil || !node.Found || attachment.Err != nil || !attachment.Found {
		return false
	}
	reported := node.Value
	return reported.Machine == id.Machine && !reported.Leaving && !reported.Uses(volumeHandle) && reported.Since.Before(attachment.Value.Since)
}
