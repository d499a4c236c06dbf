package attach

import "errors"

// Why a volume isn't published to a node. They are wrapped in errors that name the volume and the node and say what to
// do.
var (
	// ErrConflict: another node holds the volume.
	ErrConflict = errors.New("the volume is held by another node")
	// ErrIncompatible: this node holds the volume already, with another access type, mode or read-only flag.
	ErrIncompatible = errors.New("the volume is published to this node in another way")
	// ErrUnfenced: the node could join the holder, but a departed host may still be connected under the same epoch.
	ErrUnfenced = errors.New("a host that departed may still be connected")
	// ErrLeaving: the node is being deleted or out of service, so it gets no new volumes.
	ErrLeaving = errors.New("the node is leaving")
	// ErrSuperseded: Kubernetes no longer wants the request: the attachment is being deleted.
	ErrSuperseded = errors.New("the request is superseded")
	// ErrNoNode: Kubernetes has no such node.
	ErrNoNode = errors.New("no such node")
	// ErrChanged: the object has changed since it was judged, or is gone; it must be judged anew.
	ErrChanged = errors.New("it has changed since it was seen")
	// ErrUnknown: too little is known to decide. Nothing was changed, and the caller should try again.
	ErrUnknown = errors.New("not enough is known to decide")
)
