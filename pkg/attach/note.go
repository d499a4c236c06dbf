package attach

// Note is a message for the operators of the cluster. It becomes a Kubernetes Event on the claim, the volume and the
// node that it is about. A note may be lost, so it never replaces a log line or a metric.
type Note struct {
	Reason Reason
	// Warning makes the event a warning: somebody should look into it. Otherwise it only reports what was done.
	Warning bool
	// PV is the name of the PersistentVolume that the note is about, and Volume its handle. One of the two is enough. Both
	// are empty if the note isn't about a volume.
	PV, Volume string
	// Node is the name of the node that the note is about, even if its Node object is gone. It is empty if the note isn't
	// about a node.
	Node string
	// Message is one or two sentences: what happened, and what to do about it.
	Message string
}

// Reason is the reason of a Kubernetes Event: CamelCase, at most 128 characters. Scripts and alerts match on it, so a
// reason must never be renamed.
type Reason string

// The reasons.
const (
	// StaleAttachmentCleared: an attachment to a node that is proven gone was deleted, so that the volume can move.
	StaleAttachmentCleared Reason = "StaleAttachmentCleared"
	// DeadAttachmentCleared: a dead attachment was deleted: its node lives, but the appliance will never again admit its
	// epoch.
	DeadAttachmentCleared Reason = "DeadAttachmentCleared"
	// ClearingHeld: clearing and take-over are paused, because too many nodes vanished at once.
	ClearingHeld Reason = "ClearingHeld"
	// ClearingNotBegun: clearing and take-over haven't begun, since not all nodes or not the appliance were seen yet.
	ClearingNotBegun Reason = "ClearingNotBegun"
	// AttachmentDead: an attachment is dead: the appliance has another holder or epoch, or the epoch was granted to an
	// earlier machine of the node's name. The attachment is deleted once no pod on the node uses the volume.
	AttachmentDead Reason = "AttachmentDead"
	// DetachStuck: an attachment has been detaching for much longer than a detach takes.
	DetachStuck Reason = "DetachStuck"
	// VolumeTakenOver: a holder that is gone or detached was fenced, and the volume was published to another node.
	VolumeTakenOver Reason = "VolumeTakenOver"
	// MachineIdentityChanged: a Node reports another machine identity than the one that holds the volume under its name.
	MachineIdentityChanged Reason = "MachineIdentityChanged"
	// DuplicateMachineIdentity: several Nodes report one machine identity, so none of them gets a volume.
	DuplicateMachineIdentity Reason = "DuplicateMachineIdentity"
	// ApplianceWentBack: the appliance went back in time: a disk's record is older than what was granted.
	ApplianceWentBack Reason = "ApplianceWentBack"
	// OrphanedDisk: the appliance has a disk of this cluster that no PersistentVolume refers to.
	OrphanedDisk Reason = "OrphanedDisk"
	// OrphanedFile: the appliance has a backing file of this cluster that no disk refers to.
	OrphanedFile Reason = "OrphanedFile"
	// MissingDisk: a PersistentVolume refers to a disk that the appliance doesn't have.
	MissingDisk Reason = "MissingDisk"
	// HolderWithoutAttachment: the appliance admits a node to a volume, although no attachment is for both.
	HolderWithoutAttachment Reason = "HolderWithoutAttachment"
	// ApplianceUnusable: the appliance couldn't be used since the controller began.
	ApplianceUnusable Reason = "ApplianceUnusable"
	// VolumeOfVersion0: a PersistentVolume was made by v0.x, and nothing is done with it before it is moved.
	VolumeOfVersion0 Reason = "VolumeOfVersion0"
	// JoinRefused: a second node may not join a shared volume, because a departed host may still be connected.
	JoinRefused Reason = "JoinRefused"
	// ForeignVolumeDetached: a volume of another cluster, or one whose disk is in another place, counts as detached.
	ForeignVolumeDetached Reason = "ForeignVolumeDetached"
	// PublishRefused: a volume was not published to a node, and waiting alone won't change that.
	PublishRefused Reason = "PublishRefused"
)
