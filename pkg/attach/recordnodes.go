package attach

import (
	"context"
	"fmt"
)

// RecordNodes replaces Nodes with orchestrators other than Kubernetes. It relies on the appliance's records alone:
// every holder stays until it is unpublished.
type RecordNodes struct{}

// Admit admits every node, unless its machine identity is a placeholder. The error is ErrUnknown.
func (RecordNodes) Admit(_ context.Context, _ string, node NodeID) (Admission, error) {
	return Admission{}, refusePlaceholder(node)
}

// HolderStates returns every holder as attached.
func (RecordNodes) HolderStates(_ context.Context, _ string, holders []NodeID) []Holder {
	states := make([]Holder, 0, len(holders))
	for _, id := range holders {
		states = append(states, Holder{ID: id, State: HolderAttached})
	}
	return states
}

// StoppedUsing returns false: there is never a proof.
func (RecordNodes) StoppedUsing(context.Context, string, NodeID) bool { return false }

// Granted returns no grant.
func (RecordNodes) Granted(string) Grant { return Grant{} }

// OthersGranted returns none.
func (RecordNodes) OthersGranted(string, Record) []NodeID { return nil }

// Grants returns ErrUnknown: nobody but the appliance knows to whom a volume was granted.
func (RecordNodes) Grants(context.Context, string) ([]Grant, error) {
	return nil, fmt.Errorf("%w: without Kubernetes nobody else knows which node has the volume; find out which one uses it, then restart the controller, which goes by the record as it is after that", ErrUnknown)
}

// Changed returns a channel that is never closed: nothing announces that a holder is detached.
func (RecordNodes) Changed(context.Context, string) <-chan struct{} { return nil }
