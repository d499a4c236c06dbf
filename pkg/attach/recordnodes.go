package attach

import "context"

// RecordNodes stands in for Nodes with orchestrators other than Kubernetes. It knows nothing but the appliance's records:
// every holder stays until it is unpublished.
type RecordNodes struct{}

// Admit admits every node.
func (RecordNodes) Admit(context.Context, string, NodeID) (Admission, error) { return Admission{}, nil }

// HolderStates returns every holder as attached.
func (RecordNodes) HolderStates(_ context.Context, _ string, holders []NodeID) []Holder {
	states := make([]Holder, 0, len(holders))
	for _, id := range holders {
		states = append(states, Holder{ID: id, State: HolderAttached})
	}
	return states
}

// StoppedUsing never finds proof.
func (RecordNodes) StoppedUsing(context.Context, string, NodeID) bool { return false }

// Granted finds no grant.
func (RecordNodes) Granted(string) uint64 { return 0 }

// Grants finds none.
func (RecordNodes) Grants(context.Context, string) ([]Grant, error) { return nil, nil }

// Changed returns a channel on which nothing ever happens: nobody announces that a holder leaves.
func (RecordNodes) Changed(string) <-chan struct{} { return nil }
