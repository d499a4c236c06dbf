package attach

import "errors"

// Why a volume isn't given to a node. The errors that callers see say which volume, which node, and what to do.
var (
	// ErrConflict: another node holds the volume and shows no sign of leaving.
	ErrConflict = errors.New("the volume is held by another node")
	// ErrIncompatible: this node holds the volume already, but under another access mode.
	ErrIncompatible = errors.New("the volume is published to this node in another way")
	// ErrUnfenced: the node could join the holder, but another that departed may still be connected under the same epoch.
	ErrUnfenced = errors.New("a host that departed may still be connected")
	// ErrLeaving: the node is being deleted or out of service, so it gets no new volumes.
	ErrLeaving = errors.New("the node is leaving")
	// ErrSuperseded: the request is older than what Kubernetes wants by now.
	ErrSuperseded = errors.New("the request is superseded")
	// ErrNoNode: Kubernetes has no such node.
	ErrNoNode = errors.New("no such node")
	// ErrChanged: the object isn't any more what was judged; it must be judged anew.
	ErrChanged = errors.New("it has changed since it was seen")
	// ErrUnknown: what must be known to decide isn't known; nothing was changed, and asking again is right.
	ErrUnknown = errors.New("not enough is known to decide")
)
