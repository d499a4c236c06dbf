package attach

// Note is one thing that the people who run the cluster should read where they look first: at the claim, the volume or
// the node that it happened to. Whoever records notes must not block; a note may be lost, so it never replaces a log
// line or a metric.
type Note struct {
	// Reason says what happened, in one word that never changes.
	Reason Reason
	// Warning marks what somebody should look into; without it the note only tells what was done.
	Warning bool
	// PV is the name of the PersistentVolume that the note is about, or Volume its handle: one of the two is enough. Both
	// are empty if it is about none.
	PV, Volume string
	// Node is the name of the node that the note is about, whether its Node object still exists or not; empty if it is
	// about none.
	Node string
	// Message is one sentence or two: what was seen, and what to do about it if anything.
	Message string
}

// Reason is what a Note tells, as the reason of a Kubernetes Event: CamelCase, at most 128 characters. Scripts and
// alerts match on it, so a reason is never renamed.
type Reason string

// The reasons.
const (
	// StaleAttachmentCleared: an attachment to a node that is proven gone was deleted, so that the volume can move.
	StaleAttachmentCleared Reason = "StaleAttachmentCleared"
	// DeadAttachmentCleared: an attachment to a living node was deleted, because the appliance will never again admit what it
	// stands for.
	DeadAttachmentCleared Reason = "DeadAttachmentCleared"
	// ClearingHeld: an attachment is stale but isn't cleared yet, because too many nodes vanished at once.
	ClearingHeld Reason = "ClearingHeld"
	// AttachmentDead: an attachment to a living node carries no access any more: the appliance has another holder or
	// another epoch, or it was given to an earlier machine of the node's name. It is deleted as soon as no pod on the node uses it.
	AttachmentDead Reason = "AttachmentDead"
	// DetachStuck: an attachment has been detaching for much longer than a detach takes.
	DetachStuck Reason = "DetachStuck"
	// VolumeTakenOver: a volume was fenced off from a holder that is gone or detached, and given to another node.
	VolumeTakenOver Reason = "VolumeTakenOver"
	// MachineIdentityChanged: a Node reports another machine identity than the one that holds the volume under its name.
	MachineIdentityChanged Reason = "MachineIdentityChanged"
	// ApplianceWentBack: a disk's record is older than what was written before: the appliance lost its latest changes.
	ApplianceWentBack Reason = "ApplianceWentBack"
	// OrphanedDisk: the appliance has a disk of this cluster that no PersistentVolume refers to.
	OrphanedDisk Reason = "OrphanedDisk"
	// OrphanedFile: the appliance has a backing file of this cluster that no disk refers to.
	OrphanedFile Reason = "OrphanedFile"
	// MissingDisk: a PersistentVolume refers to a disk that the appliance doesn't have.
	MissingDisk Reason = "MissingDisk"
	// HolderWithoutAttachment: the appliance admits a node to a volume that Kubernetes has no attachment for.
	HolderWithoutAttachment Reason = "HolderWithoutAttachment"
	// JoinRefused: a second node may not join a shared volume now, because a host that left can't be told apart from it.
	JoinRefused Reason = "JoinRefused"
	// PublishRefused: a volume was not given to a node, for a reason that waiting alone doesn't mend.
	PublishRefused Reason = "PublishRefused"
)
