package attach

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

const grace = 30 * time.Second

func start() time.Time { return time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) }

func nodeA() NodeID { return NodeID{Name: "a", Machine: "machine-a"} }
func nodeB() NodeID { return NodeID{Name: "b", Machine: "machine-b"} }

func requestOf(node NodeID) Request {
	return Request{Node: node, Access: "mount", Mode: "single-node-writer"}
}

func heldBy(holders ...NodeID) Record {
	return Record{Holders: holders, Access: "mount", Mode: "single-node-writer"}
}

func TestDecide(t *testing.T) {
	inState := func(s HolderState) []Holder { return []Holder{{ID: nodeA(), State: s}} }
	detaching := func(since time.Duration) []Holder {
		return []Holder{{ID: nodeA(), State: HolderDetaching, DetachingSince: start().Add(-since)}}
	}
	otherMode, otherAccess, readOnly := heldBy(nodeB()), heldBy(nodeB()), heldBy(nodeB())
	otherMode.Mode, otherAccess.Access, readOnly.ReadOnly = "single-node-multi-writer", "block", true
	tests := map[string]struct {
		record Record
		known  []Holder
		want   Verdict
	}{
		"no holder":                                    {Record{}, nil, Publish},
		"same holder":                                  {heldBy(nodeB()), nil, AlreadyPublished},
		"same holder, other mode":                      {otherMode, nil, Incompatible},
		"same holder, other access":                    {otherAccess, nil, Incompatible},
		"same holder, read-only":                       {readOnly, nil, Incompatible},
		"same name, other machine, nothing known":      {heldBy(NodeID{"b", "machine-old"}), nil, Unknown},
		"other holder, nothing known":                  {heldBy(nodeA()), nil, Unknown},
		"other holder, unknown":                        {heldBy(nodeA()), inState(HolderUnknown), Unknown},
		"other holder, attached":                       {heldBy(nodeA()), inState(HolderAttached), Conflict},
		"other holder, its node is gone":               {heldBy(nodeA()), inState(HolderGone), TakeOver},
		"other holder, its attachment is gone":         {heldBy(nodeA()), inState(HolderDetached), TakeOver},
		"other holder, detaching just now":             {heldBy(nodeA()), detaching(0), HandOff},
		"other holder, detaching within grace":         {heldBy(nodeA()), detaching(grace - 1), HandOff},
		"other holder, detaching for the grace period": {heldBy(nodeA()), detaching(grace), Conflict},
		"other holder, detaching in a moment":          {heldBy(nodeA()), detaching(-grace), HandOff},
		"other holder, detaching in the far future":    {heldBy(nodeA()), detaching(-grace - 1), Conflict},
		"what is known is about somebody else":         {heldBy(nodeA()), []Holder{{ID: NodeID{"c", "c"}, State: HolderGone}}, Unknown},
		"two holders, one attached":                    {heldBy(nodeA(), NodeID{"c", "c"}), append(inState(HolderGone), Holder{ID: NodeID{"c", "c"}, State: HolderAttached}), Conflict},
		"two holders, one unknown":                     {heldBy(nodeA(), NodeID{"c", "c"}), inState(HolderGone), Unknown},
		"two holders, one is the node itself":          {heldBy(nodeA(), nodeB()), inState(HolderGone), TakeOver},
		"other holder, in use under a new identity":    {heldBy(nodeA()), inState(HolderInUse), Conflict},
		"other holder, gone with too many others":      {heldBy(nodeA()), inState(HolderGonePaused), Unknown},
		"invalid state":                                {heldBy(nodeA()), inState(HolderState(99)), Unknown},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := Decide(requestOf(nodeB()), test.record, test.known, start(), Policy{Grace: grace}); got.Verdict != test.want {
				t.Errorf("got %s over %+v, want %s", got.Verdict, got.Over, test.want)
			}
		})
	}
}

// A hand-off from a to b uses up a's grace: b is no more detaching for it, so c must not get the volume.
func TestGraceIsConsumedByTheHandOff(t *testing.T) {
	aLeaves := Holder{ID: nodeA(), State: HolderDetaching, DetachingSince: start()}
	if got := Decide(requestOf(nodeB()), heldBy(nodeA()), []Holder{aLeaves}, start(), Policy{Grace: grace}); got.Verdict != HandOff {
		t.Fatalf("a to b: got %s, want %s", got.Verdict, HandOff)
	}
	known := []Holder{aLeaves, {ID: nodeB(), State: HolderAttached}}
	request := requestOf(NodeID{Name: "c", Machine: "machine-c"})
	if got := Decide(request, heldBy(nodeB()), known, start(), Policy{Grace: grace}); got.Verdict != Conflict || got.Over.ID != nodeB() {
		t.Errorf("b to c: got %s over %s, want a conflict with b", got.Verdict, got.Over.ID)
	}
}

// Whatever comes in, a volume only changes hands if every other holder was positively found gone, detached, or
// detaching within grace.
func TestDecideNeverTakesFromALiveHolder(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	for range 20000 {
		var record Record
		var known []Holder
		takeable := true
		for i := range random.IntN(4) {
			id := NodeID{Name: fmt.Sprint("n", i), Machine: fmt.Sprint("m", random.IntN(2))}
			holder := Holder{ID: id, State: HolderState(random.IntN(9)), DetachingSince: start().Add(-time.Duration(random.Int64N(int64(4*grace))) + 2*grace)}
			record.Holders = append(record.Holders, id)
			if random.IntN(5) > 0 {
				known = append(known, holder)
			} else {
				holder.State = HolderUnknown
			}
			elapsed := start().Sub(holder.DetachingSince)
			inGrace := holder.State == HolderDetaching && -grace <= elapsed && elapsed < grace
			takeable = takeable && (holder.State == HolderGone || holder.State == HolderDetached || inGrace)
		}
		got := Decide(requestOf(nodeB()), record, known, start(), Policy{Grace: grace})
		takes := got.Verdict == Publish || got.Verdict == HandOff || got.Verdict == TakeOver
		if takes != takeable {
			t.Fatalf("got %s for %+v knowing %+v", got.Verdict, record, known)
		}
	}
}

// However wrong a clock is, the grace ends: neither end of it is ever more than a grace away.
func TestTheGraceIsAsLongInBothDirections(t *testing.T) {
	random := rand.New(rand.NewPCG(9, 10))
	for range 20000 {
		grace := time.Duration(random.Int64N(int64(time.Hour)))
		elapsed := time.Duration(random.Int64N(int64(4*time.Hour))) - 2*time.Hour
		if random.IntN(2) == 0 {
			edges := []time.Duration{-grace - 1, -grace, 1 - grace, 0, grace - 1, grace, grace + 1}
			elapsed = edges[random.IntN(len(edges))]
		}
		leaving := Holder{ID: nodeA(), State: HolderDetaching, DetachingSince: start().Add(-elapsed)}
		got := Decide(requestOf(nodeB()), heldBy(nodeA()), []Holder{leaving}, start(), Policy{Grace: grace})
		want := Conflict
		if -grace <= elapsed && elapsed < grace {
			want = HandOff
		}
		if got.Verdict != want {
			t.Fatalf("detaching for %s with a grace of %s: got %s, want %s", elapsed, grace, got.Verdict, want)
		}
	}
}

func TestJudge(t *testing.T) {
	failed := errors.New("connection refused")
	since := start()
	node := func(machine string, inUse ...string) Answer[Node] {
		return Answer[Node]{Found: true, Value: Node{Name: "a", Machine: machine, VolumesInUse: inUse}}
	}
	attachment := func(since time.Time) Answer[Attachment] {
		return Answer[Attachment]{Found: true, Value: Attachment{DetachingSince: since}}
	}
	tests := map[string]struct {
		node       Answer[Node]
		attachment Answer[Attachment]
		want       HolderState
	}{
		"node not found":                           {Answer[Node]{}, Answer[Attachment]{}, HolderGone},
		"node request failed":                      {Answer[Node]{Err: failed}, Answer[Attachment]{}, HolderUnknown},
		"another machine has the name":             {node("machine-x"), attachment(time.Time{}), HolderGone},
		"another identity, but it uses the volume": {node("machine-x", "v"), attachment(time.Time{}), HolderInUse},
		"another identity, uses another volume":    {node("machine-x", "w"), attachment(time.Time{}), HolderGone},
		"another identity, attachment unknown":     {node("machine-x", "v"), Answer[Attachment]{Err: failed}, HolderUnknown},
		"another machine, attachment unknown":      {node("machine-x"), Answer[Attachment]{Err: failed}, HolderGone},
		"no identity reported, attached":           {node(""), attachment(time.Time{}), HolderAttached},
		"attached":                                 {node("machine-a"), attachment(time.Time{}), HolderAttached},
		"detaching":                                {node("machine-a"), attachment(since), HolderDetaching},
		"attachment not found":                     {node("machine-a"), Answer[Attachment]{}, HolderDetached},
		"attachment request failed":                {node("machine-a"), Answer[Attachment]{Err: failed}, HolderUnknown},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := Judge(nodeA(), "v", test.node, test.attachment); got.State != test.want || got.ID != nodeA() {
				t.Errorf("got %s, want %s", got.State, test.want)
			}
		})
	}
}

// A machine that changed its identity and goes on using its volume is detaching only while its attachment is being
// deleted.
func TestJudgeReportsWhetherADetachWasRequested(t *testing.T) {
	node := Answer[Node]{Found: true, Value: Node{Name: "a", Machine: "machine-x", VolumesInUse: []string{"v"}}}
	for name, attachment := range map[string]Answer[Attachment]{
		"detaching": {Found: true, Value: Attachment{DetachingSince: start()}},
		"attached":  {Found: true},
		"gone":      {},
	} {
		t.Run(name, func(t *testing.T) {
			got := Judge(nodeA(), "v", node, attachment)
			if got.State != HolderInUse || got.DetachingSince != attachment.Value.DetachingSince {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// Node IDs and attachment names are stored by Kubernetes: golden.
func TestGoldenNames(t *testing.T) {
	if got, want := nodeA().String(), "a/machine-a"; got != want {
		t.Errorf("node ID: got %s, want %s", got, want)
	}
	got := AttachmentName("raid10/rds-csi/csi-b4e70c9a24a43ea7ee6b063d4af4", "rds.csi.srvlab.io", "node-a")
	if want := "csi-34ac17dfb80c61a2341d1d4882068b6cd1596c4d3134dcb03a1b667f2b3706f9"; got != want {
		t.Errorf("attachment name: got %s, want %s", got, want)
	}
}

func TestParseNodeID(t *testing.T) {
	if got, err := ParseNodeID("a/machine-a"); err != nil || got != nodeA() {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, bad := range []string{"", "a", "a/", "/m", "a/b/c", "a b/c", "a/b,c", `a/"`, "a/" + string(make([]byte, 300))} {
		if got, err := ParseNodeID(bad); err == nil {
			t.Errorf("ParseNodeID(%q) = %+v, want an error", bad, got)
		}
	}
	const allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"
	for r := rune(1); r < 256; r++ {
		if _, err := ParseNodeID("a/" + string(r)); (err == nil) != strings.ContainsRune(allowed, r) {
			t.Errorf("ParseNodeID with %q: %v", r, err)
		}
	}
	for over := range 2 {
		if _, err := ParseNodeID("a/" + strings.Repeat("m", MaxNodeIDLength-len("a/")+over)); (err == nil) != (over == 0) {
			t.Errorf("ParseNodeID, %d characters too long: %v", over, err)
		}
	}
}
