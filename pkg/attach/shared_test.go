package attach

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func nodeC() NodeID { return NodeID{Name: "c", Machine: "machine-c"} }

func sharedRequestOf(node NodeID) Request {
	return Request{Node: node, Access: AccessBlock, Mode: ModeMultiWriter}
}

func sharedBy(holders ...NodeID) Record {
	return Record{Holders: holders, Access: AccessBlock, Mode: ModeMultiWriter}
}

// b asks for a volume that may be shared.
func TestDecideOnASharedVolume(t *testing.T) {
	as := func(standings map[NodeID]HolderState) []Holder {
		var known []Holder
		for id, standing := range standings {
			known = append(known, Holder{ID: id, State: standing, DetachingSince: start().Add(-time.Minute)})
		}
		return known
	}
	departed := sharedBy(nodeA())
	departed.Departed = []NodeID{nodeC()}
	returning := sharedBy(nodeA())
	returning.Departed = []NodeID{nodeB()}
	single := heldBy(nodeA())
	single.Access = AccessBlock
	readOnly := sharedBy(nodeA())
	readOnly.ReadOnly = true
	tests := map[string]struct {
		record    Record
		known     []Holder
		allow     bool
		want      Verdict
		detaching NodeID
	}{
		"no holder":                                     {Record{}, nil, false, Publish, NodeID{}},
		"one holder stays":                              {sharedBy(nodeA()), as(map[NodeID]HolderState{nodeA(): HolderAttached}), false, Join, NodeID{}},
		"one holder has been detaching too long":        {sharedBy(nodeA()), as(map[NodeID]HolderState{nodeA(): HolderDetaching}), false, Join, NodeID{}},
		"one holder is gone":                            {sharedBy(nodeA()), as(map[NodeID]HolderState{nodeA(): HolderGone}), false, TakeOver, NodeID{}},
		"one holder is unknown":                         {sharedBy(nodeA()), nil, false, Unknown, NodeID{}},
		"two holders stay":                              {sharedBy(nodeA(), nodeC()), as(map[NodeID]HolderState{nodeA(): HolderAttached, nodeC(): HolderAttached}), false, Conflict, NodeID{}},
		"two holders, one is detaching":                 {sharedBy(nodeA(), nodeC()), as(map[NodeID]HolderState{nodeA(): HolderAttached, nodeC(): HolderDetaching}), false, Conflict, nodeC()},
		"two holders, one is gone":                      {sharedBy(nodeA(), nodeC()), as(map[NodeID]HolderState{nodeA(): HolderAttached, nodeC(): HolderGone}), false, Conflict, NodeID{}},
		"two holders, both gone":                        {sharedBy(nodeA(), nodeC()), as(map[NodeID]HolderState{nodeA(): HolderGone, nodeC(): HolderGone}), false, TakeOver, NodeID{}},
		"two holders, the node is one":                  {sharedBy(nodeA(), nodeB()), nil, false, AlreadyPublished, NodeID{}},
		"another departed unseen":                       {departed, as(map[NodeID]HolderState{nodeA(): HolderAttached}), false, Unfenced, NodeID{}},
		"another departed unseen, allowed":              {departed, as(map[NodeID]HolderState{nodeA(): HolderAttached}), true, Join, NodeID{}},
		"the node itself departed unseen":               {returning, as(map[NodeID]HolderState{nodeA(): HolderAttached}), false, Join, NodeID{}},
		"the record is for one node":                    {single, as(map[NodeID]HolderState{nodeA(): HolderAttached}), false, Conflict, NodeID{}},
		"the record is read-only":                       {readOnly, as(map[NodeID]HolderState{nodeA(): HolderAttached}), false, Conflict, NodeID{}},
		"an earlier machine of the node's name uses it": {sharedBy(NodeID{"b", "old"}), as(map[NodeID]HolderState{{"b", "old"}: HolderInUse}), false, Conflict, NodeID{}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := Decide(sharedRequestOf(nodeB()), test.record, test.known, start(), Policy{Grace: grace, AllowUnfenced: test.allow})
			if got.Verdict != test.want || got.Detaching != test.detaching {
				t.Errorf("got %s over %+v (detaching %q), want %s (detaching %q)", got.Verdict, got.Over, got.Detaching, test.want, test.detaching)
			}
		})
	}
}

// A request for one node never shares, and one that would share never does so with a holder that is to be alone.
func TestOnlySharedVolumesAreShared(t *testing.T) {
	attached := []Holder{{ID: nodeA(), State: HolderAttached}}
	for _, request := range []Request{requestOf(nodeB()), {Node: nodeB(), Access: AccessBlock, Mode: "single-node-writer"}, {Node: nodeB(), Access: "mount", Mode: ModeMultiWriter}} {
		if got := Decide(request, sharedBy(nodeA()), attached, start(), Policy{Grace: grace}); got.Verdict != Conflict {
			t.Errorf("%+v: got %s, want %s", request, got.Verdict, Conflict)
		}
	}
}

func TestAConflictThatResolvesNamesWhoLeaves(t *testing.T) {
	long := []Holder{{ID: nodeA(), State: HolderDetaching, DetachingSince: start().Add(-grace)}}
	if got := Decide(requestOf(nodeB()), heldBy(nodeA()), long, start(), Policy{Grace: grace}); got.Verdict != Conflict || got.Detaching != nodeA() {
		t.Errorf("got %s, detaching %q, want a conflict that %q ends", got.Verdict, got.Detaching, nodeA())
	}
	// It doesn't help one who wants the volume alone that a leaves, if b stays. One who may share it can join b then.
	long = append(long, Holder{ID: nodeB(), State: HolderAttached})
	for _, record := range []Record{sharedBy(nodeA(), nodeB()), sharedBy(nodeB(), nodeA())} {
		if got := Decide(requestOf(nodeC()), record, long, start(), Policy{Grace: grace}); got.Verdict != Conflict || got.Detaching != (NodeID{}) || got.Over.ID != nodeB() {
			t.Errorf("alone: got %+v, want a conflict with %q, which stays", got, nodeB())
		}
		if got := Decide(sharedRequestOf(nodeC()), record, long, start(), Policy{Grace: grace}); got.Verdict != Conflict || got.Detaching != nodeA() {
			t.Errorf("shared: got %+v, want a conflict that %q ends", got, nodeA())
		}
	}
}

func TestNothingIsDecidedOnARecordThatWentBack(t *testing.T) {
	record := heldBy(nodeB())
	record.Generation = 5
	for granted, want := range map[uint64]Verdict{4: AlreadyPublished, 5: AlreadyPublished, 6: WentBack} {
		request := requestOf(nodeB())
		request.Granted = granted
		if got := Decide(request, record, nil, start(), Policy{}); got.Verdict != want {
			t.Errorf("granted %d, record at 5: got %s, want %s", granted, got.Verdict, want)
		}
	}
}

// randomCase draws any request and record, the impossible ones included.
func randomCase(random *rand.Rand) (Request, Record, []Holder) {
	node := func() NodeID {
		return NodeID{Name: fmt.Sprint("n", random.IntN(3)), Machine: fmt.Sprint("m", random.IntN(2))}
	}
	way := func() (access, mode string) {
		if random.IntN(2) == 0 {
			return AccessBlock, ModeMultiWriter
		}
		return []string{"mount", AccessBlock}[random.IntN(2)], []string{"single-node-writer", ModeMultiWriter, ""}[random.IntN(3)]
	}
	request := Request{Node: node(), ReadOnly: random.IntN(4) == 0, Granted: random.Uint64N(3)}
	request.Access, request.Mode = way()
	record := Record{ReadOnly: random.IntN(4) == 0, Generation: 1 + random.Uint64N(2)}
	record.Access, record.Mode = way()
	var known []Holder
	for range random.IntN(4) {
		holder := Holder{ID: node(), State: HolderState(random.IntN(9) - 1), DetachingSince: start().Add(time.Duration(random.Int64N(int64(4*grace))) - 2*grace)}
		record.Holders = append(record.Holders, holder.ID)
		if random.IntN(5) > 0 {
			known = append(known, holder)
		}
	}
	if random.IntN(3) == 0 {
		record.Departed = append(record.Departed, node())
	}
	return request, record, known
}

// The rules that no decision may break, whatever it is asked.
func TestRulesOfEveryDecision(t *testing.T) {
	random := rand.New(rand.NewPCG(9, 10))
	counts := map[Verdict]int{}
	for range 50000 {
		request, record, known := randomCase(random)
		decision := Decide(request, record, known, start(), Policy{Grace: grace})
		counts[decision.Verdict]++
		if broken := brokenRule(request, record, known, decision); broken != "" {
			t.Fatalf("%s: got %s over %+v for %+v on %+v knowing %+v", broken, decision.Verdict, decision.Over, request, record, known)
		}
	}
	for _, verdict := range Verdicts() {
		if counts[verdict] == 0 {
			t.Errorf("no case led to %s", verdict)
		}
	}
}

// stays returns whether a holder is one that nothing but an operator ends.
func stays(known []Holder) func(NodeID) bool {
	return func(id NodeID) bool {
		state := findHolder(id, known).State
		return state == HolderAttached || state == HolderInUse
	}
}

func brokenRule(request Request, record Record, known []Holder, decision Decision) string {
	others := slices.DeleteFunc(slices.Clone(record.Holders), func(id NodeID) bool { return id == request.Node })
	switch {
	case decision.Verdict != WentBack && record.Generation < request.Granted:
		return "a record that went back was relied on"
	case decision.Verdict == AlreadyPublished && !slices.Contains(record.Holders, request.Node):
		return "a node without the volume was told it has it"
	case decision.Verdict == AlreadyPublished && len(others) > 0 && !Shared(record.Access, record.Mode):
		return "a volume for one node was left with two"
	case decision.Verdict == Join && (len(others) != 1 || !Shared(record.Access, record.Mode) || !Shared(request.Access, request.Mode)):
		return "a volume was shared that mustn't be, or with too many"
	case decision.Verdict == Join && slices.ContainsFunc(record.Departed, func(id NodeID) bool { return id != request.Node }):
		return "a node joined while a departed one may be connected"
	case decision.Verdict == Publish && len(others) > 0:
		return "a held volume passed for a free one"
	case decision.Verdict == Conflict && !slices.Contains(record.Holders, decision.Over.ID):
		return "a conflict with nobody"
	case decision.Detaching != (NodeID{}) && !Shared(request.Access, request.Mode) && slices.ContainsFunc(others, stays(known)):
		return "a node is to wait for one that leaves, though another one stays"
	}
	if decision.Verdict != HandOff && decision.Verdict != TakeOver {
		return ""
	}
	for _, id := range others {
		holder := findHolder(id, known)
		leaves := holder.State == HolderDetaching && start().Sub(holder.DetachingSince) < grace
		if holder.State != HolderGone && holder.State != HolderDetached && !leaves {
			return "a holder was fenced that has a right to the volume"
		}
	}
	return ""
}

func FuzzDecide(f *testing.F) {
	f.Add(uint64(1), uint64(2))
	f.Fuzz(func(t *testing.T, seed1, seed2 uint64) {
		request, record, known := randomCase(rand.New(rand.NewPCG(seed1, seed2)))
		decision := Decide(request, record, known, start(), Policy{Grace: grace})
		if broken := brokenRule(request, record, known, decision); broken != "" {
			t.Fatalf("%s: got %s for %+v on %+v knowing %+v", broken, decision.Verdict, request, record, known)
		}
	})
}
