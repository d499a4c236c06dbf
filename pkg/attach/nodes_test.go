package attach

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// fakeKubernetes is a cluster whose caches and API server can disagree. What isn't set isn't there.
type fakeKubernetes struct {
	unsynced     bool
	cached, live map[string]Node
	cachedVA     map[string]Attachment
	liveVA       map[string]Attachment
	failed       error
	// failedFor are the errors about single nodes and attachments, by name.
	failedFor      map[string]error
	askedNodesLive int
	listed         int
	listFailed     error
}

func (f *fakeKubernetes) Synced() bool { return !f.unsynced }

func (f *fakeKubernetes) CachedNode(name string) (Node, bool) {
	node, found := f.cached[name]
	return node, found
}

func (f *fakeKubernetes) CachedNodesOfMachine(machine string) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(f.cached)) {
		if f.cached[name].Machine == machine {
			names = append(names, name)
		}
	}
	return names
}

func (f *fakeKubernetes) AwaitAttachment(ctx context.Context, name string) (Attachment, bool) {
	attachment, found := f.cachedVA[name]
	if !found {
		<-ctx.Done()
	}
	return attachment, found
}

func (f *fakeKubernetes) LiveNode(_ context.Context, name string) Answer[Node] {
	f.askedNodesLive++
	node, found := f.live[name]
	err := cmp.Or(f.failed, f.failedFor[name])
	return Answer[Node]{Value: node, Found: found && err == nil, Err: err}
}

func (f *fakeKubernetes) LiveAttachment(_ context.Context, name string) Answer[Attachment] {
	attachment, found := f.liveVA[name]
	err := cmp.Or(f.failed, f.failedFor[name])
	return Answer[Attachment]{Value: attachment, Found: found && err == nil, Err: err}
}

func (f *fakeKubernetes) CachedAttachmentsOf(string) []Attachment {
	return slices.Collect(maps.Values(f.cachedVA))
}

func (f *fakeKubernetes) LiveAttachmentsOf(context.Context, string) ([]Attachment, error) {
	f.listed++
	return slices.Collect(maps.Values(f.liveVA)), f.listFailed
}

func (f *fakeKubernetes) AttachmentsChanged(context.Context, string) <-chan struct{} { return nil }

const (
	testDriver = "rds.csi.example.com"
	handle1    = "raid10/rds-csi/cluster-1/csi-3e2e1eef0c3d35e6f9a2a1c9a2b1"
)

// never is a mass deletion that doesn't happen.
func never() bool { return false }

func nodeIDA() NodeID { return NodeID{Name: "node-a", Machine: "machine-a"} }

// orderly is a cluster in which node-a may have the volume.
func orderly() *fakeKubernetes {
	node := Node{Name: "node-a", Machine: "machine-a"}
	name := AttachmentName(handle1, testDriver, "node-a")
	return &fakeKubernetes{
		cached: map[string]Node{"node-a": node}, live: map[string]Node{"node-a": node},
		cachedVA: map[string]Attachment{name: {Name: name}}, liveVA: map[string]Attachment{name: {Name: name}},
	}
}

func (f *fakeKubernetes) change(node Node) {
	f.cached[node.Name], f.live[node.Name] = node, node
}

func (f *fakeKubernetes) changeVA(attachment Attachment) {
	name := AttachmentName(handle1, testDriver, "node-a")
	f.cachedVA[name], f.liveVA[name] = attachment, attachment
}

func TestAdmit(t *testing.T) {
	tests := map[string]struct {
		change func(*fakeKubernetes)
		want   error
	}{
		"in order":                             {func(*fakeKubernetes) {}, nil},
		"caches not filled":                    {func(f *fakeKubernetes) { f.unsynced = true }, ErrUnknown},
		"node just joined, cache is behind":    {func(f *fakeKubernetes) { clear(f.cached) }, nil},
		"no such node":                         {func(f *fakeKubernetes) { clear(f.cached); clear(f.live) }, ErrNoNode},
		"not in cache, API server is away":     {func(f *fakeKubernetes) { clear(f.cached); f.failed = errors.New("refused") }, ErrUnknown},
		"node reports another machine":         {func(f *fakeKubernetes) { f.change(Node{Name: "node-a", Machine: "machine-x"}) }, ErrUnknown},
		"node reports no machine":              {func(f *fakeKubernetes) { f.change(Node{Name: "node-a"}) }, ErrUnknown},
		"node is leaving":                      {func(f *fakeKubernetes) { f.change(Node{Name: "node-a", Machine: "machine-a", Leaving: true}) }, ErrLeaving},
		"no attachment asks for it":            {func(f *fakeKubernetes) { clear(f.cachedVA) }, ErrUnknown},
		"its attachment is being deleted":      {func(f *fakeKubernetes) { f.changeVA(Attachment{DetachingSince: time.Unix(1, 0)}) }, ErrSuperseded},
		"its attachment is attached, in cache": {func(f *fakeKubernetes) { f.changeVA(Attachment{Attached: true}) }, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cluster := orderly()
				test.change(cluster)
				admission, err := NewNodes(testDriver, cluster, never).Admit(t.Context(), handle1, nodeIDA())
				if !errors.Is(err, test.want) || (err == nil) != (test.want == nil) {
					t.Errorf("got %v, want %v", err, test.want)
				}
				if want := cluster.cachedVA[AttachmentName(handle1, testDriver, "node-a")].Attached && err == nil; admission.Attached != want {
					t.Errorf("attached: got %t, want %t", admission.Attached, want)
				}
			})
		})
	}
}

// The common case asks the API server nothing: the caches are there for that.
func TestAdmitAsksNothingLiveInTheCommonCase(t *testing.T) {
	cluster := orderly()
	if _, err := NewNodes(testDriver, cluster, never).Admit(t.Context(), handle1, nodeIDA()); err != nil || cluster.askedNodesLive != 0 {
		t.Errorf("got %v after %d live questions, want none", err, cluster.askedNodesLive)
	}
}

// A holder is judged by what the API server says now, whatever the caches say.
func TestHolderStatesAreLive(t *testing.T) {
	tests := map[string]struct {
		change func(*fakeKubernetes)
		want   HolderState
	}{
		"attached":                         {func(*fakeKubernetes) {}, HolderAttached},
		"gone, though the cache has it":    {func(f *fakeKubernetes) { clear(f.live) }, HolderGone},
		"there, though the cache lacks it": {func(f *fakeKubernetes) { clear(f.cached); clear(f.cachedVA) }, HolderAttached},
		"API server is away":               {func(f *fakeKubernetes) { f.failed = errors.New("refused") }, HolderUnknown},
		"detached":                         {func(f *fakeKubernetes) { clear(f.liveVA) }, HolderDetached},
		"detaching":                        {func(f *fakeKubernetes) { f.changeVA(Attachment{DetachingSince: time.Unix(1, 0)}) }, HolderDetaching},
		"another machine that uses the volume": {func(f *fakeKubernetes) {
			f.change(Node{Name: "node-a", Machine: "machine-x", VolumesInUse: []string{handle1}})
		}, HolderInUse},
		"another machine that uses the volume, on a Node as old as the attachment": {func(f *fakeKubernetes) {
			f.change(Node{Name: "node-a", Machine: "machine-x", VolumesInUse: []string{handle1}, Since: time.Unix(5, 0)})
			f.changeVA(Attachment{Since: time.Unix(5, 0)})
		}, HolderInUse},
		"another machine that uses the volume, on a Node younger than the attachment": {func(f *fakeKubernetes) {
			f.change(Node{Name: "node-a", Machine: "machine-x", VolumesInUse: []string{handle1}, Since: time.Unix(6, 0)})
			f.changeVA(Attachment{Since: time.Unix(5, 0)})
		}, HolderGone},
		"another machine that uses the volume, attached nobody knows when": {func(f *fakeKubernetes) {
			f.change(Node{Name: "node-a", Machine: "machine-x", VolumesInUse: []string{handle1}, Since: time.Unix(6, 0)})
			clear(f.liveVA)
		}, HolderInUse},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			cluster := orderly()
			test.change(cluster)
			got := NewNodes(testDriver, cluster, never).HolderStates(t.Context(), handle1, []NodeID{nodeIDA()})
			if len(got) != 1 || got[0].State != test.want || got[0].ID != nodeIDA() {
				t.Errorf("got %+v, want %s", got, test.want)
			}
		})
	}
}

// While too many nodes vanished at once, none of them counts as gone; those that live are what they are.
func TestAMassDeletionPausesTakeOvers(t *testing.T) {
	cluster := orderly()
	nodes := NewNodes(testDriver, cluster, func() bool { return true })
	if got := nodes.HolderStates(t.Context(), handle1, []NodeID{nodeIDA()}); got[0].State != HolderAttached {
		t.Errorf("a living holder: got %s", got[0].State)
	}
	clear(cluster.live)
	if got := nodes.HolderStates(t.Context(), handle1, []NodeID{nodeIDA()}); got[0].State != HolderGonePaused {
		t.Errorf("a holder that is gone: got %s, want %s", got[0].State, HolderGonePaused)
	}
}

// Only a living node of this very machine that reports the volume unused proves that it stopped using it.
func TestStoppedUsing(t *testing.T) {
	machineA := Node{Name: "node-a", Machine: "machine-a", Since: time.Unix(1000, 0)}
	tests := map[string]struct {
		change func(*fakeKubernetes)
		want   bool
	}{
		"lives, doesn't use it": {func(*fakeKubernetes) {}, true},
		"gone":                  {func(f *fakeKubernetes) { clear(f.live) }, false},
		"API server is away":    {func(f *fakeKubernetes) { f.failed = errors.New("refused") }, false},
		"another machine":       {func(f *fakeKubernetes) { f.change(Node{Name: "node-a", Machine: "machine-x"}) }, false},
		"no identity":           {func(f *fakeKubernetes) { f.change(Node{Name: "node-a"}) }, false},
		"out of service":        {func(f *fakeKubernetes) { n := machineA; n.Leaving = true; f.change(n) }, false},
		"still uses it":         {func(f *fakeKubernetes) { n := machineA; n.VolumesInUse = []string{handle1}; f.change(n) }, false},
		"attachment gone":       {func(f *fakeKubernetes) { clear(f.liveVA) }, false},
		"attachment is older":   {func(f *fakeKubernetes) { f.changeVA(Attachment{Since: machineA.Since.Add(-time.Second)}) }, false},
		"of the same second":    {func(f *fakeKubernetes) { f.changeVA(Attachment{Since: machineA.Since}) }, false},
		"attachment is younger": {func(f *fakeKubernetes) { f.changeVA(Attachment{Since: machineA.Since.Add(time.Second)}) }, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			cluster := orderly()
			cluster.change(machineA)
			cluster.changeVA(Attachment{Since: machineA.Since.Add(time.Hour)})
			test.change(cluster)
			if got := NewNodes(testDriver, cluster, never).StoppedUsing(t.Context(), handle1, nodeIDA()); got != test.want {
				t.Errorf("got %t, want %t", got, test.want)
			}
		})
	}
}

// Whatever an answer has beside it, an error or "not found" proves nothing.
func TestOnlyAnswersProveThatAMachineStoppedUsing(t *testing.T) {
	since, refused := time.Unix(1000, 0), errors.New("refused")
	for _, answers := range []struct {
		nodeErr, attachmentErr     error
		nodeFound, attachmentFound bool
	}{
		{nil, nil, true, true}, {refused, nil, true, true}, {nil, refused, true, true}, {nil, nil, false, true}, {nil, nil, true, false},
	} {
		node := Answer[Node]{Value: Node{Name: "node-a", Machine: "machine-a", Since: since}, Found: answers.nodeFound, Err: answers.nodeErr}
		attachment := Answer[Attachment]{Value: Attachment{Since: since.Add(time.Second)}, Found: answers.attachmentFound, Err: answers.attachmentErr}
		want := answers.nodeErr == nil && answers.attachmentErr == nil && answers.nodeFound && answers.attachmentFound
		if got := stoppedUsing(nodeIDA(), handle1, node, attachment); got != want {
			t.Errorf("%+v: got %t, want %t", answers, got, want)
		}
	}
}

// What was granted counts for a restoration only if the API server vouches for it now.
func TestGrantsAreLive(t *testing.T) {
	grant := Grant{Node: nodeIDA(), SubsystemNQN: "nqn", Generation: 9, Access: "mount", Mode: "single-node-writer"}
	attached := Attachment{NodeName: "node-a", NodeID: nodeIDA().String(), Attached: true, Grant: grant}
	with := func(change func(*Attachment)) func(*fakeKubernetes) {
		return func(f *fakeKubernetes) {
			name := AttachmentName(handle1, testDriver, "node-a")
			attachment := attached
			change(&attachment)
			f.liveVA[name] = attachment
		}
	}
	tests := map[string]struct {
		change func(*fakeKubernetes)
		want   int
		fails  bool
	}{
		"attached":                     {func(*fakeKubernetes) {}, 1, false},
		"detaching":                    {with(func(a *Attachment) { a.DetachingSince = time.Unix(1, 0) }), 0, false},
		"not attached any more":        {with(func(a *Attachment) { a.Attached = false }), 0, false},
		"attached as another machine":  {with(func(a *Attachment) { a.NodeID = "node-a/machine-x" }), 0, false},
		"no grant":                     {with(func(a *Attachment) { a.Grant = Grant{} }), 0, false},
		"attachment is gone":           {func(f *fakeKubernetes) { clear(f.liveVA) }, 0, false},
		"node is gone":                 {func(f *fakeKubernetes) { clear(f.live) }, 0, false},
		"another machine has the name": {func(f *fakeKubernetes) { f.change(Node{Name: "node-a", Machine: "machine-x"}) }, 0, false},
		"API server is away":           {func(f *fakeKubernetes) { f.failed = errors.New("refused") }, 0, true},
		"not in the cache yet":         {func(f *fakeKubernetes) { clear(f.cachedVA) }, 1, false},
		"not in the cache, not listed": {func(f *fakeKubernetes) { clear(f.cachedVA); f.listFailed = errors.New("refused") }, 0, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			cluster := orderly()
			cluster.changeVA(attached)
			for key, attachment := range cluster.cachedVA {
				attachment.Name = key
				cluster.cachedVA[key] = attachment
			}
			test.change(cluster)
			nodes := NewNodes(testDriver, cluster, never)
			got, err := nodes.Grants(t.Context(), handle1)
			if len(got) != test.want || errors.Is(err, ErrUnknown) != test.fails {
				t.Errorf("got %+v, %v, want %d", got, err, test.want)
			}
			if len(cluster.cachedVA) > 0 && len(got) > 0 && cluster.listed > 0 {
				t.Error("listed all attachments though the cache had what there is")
			}
			if granted := nodes.Granted(handle1).Generation; granted != 9 && len(cluster.cachedVA) > 0 {
				t.Errorf("highest generation known: got %d, want 9", granted)
			}
		})
	}
}

// grantedTo is a cluster in which two nodes have the volume attached, under one epoch.
func grantedTo(a, b NodeID) *fakeKubernetes {
	cluster := orderly()
	clear(cluster.cachedVA)
	clear(cluster.liveVA)
	for generation, id := range []NodeID{a, b} {
		cluster.change(Node{Name: id.Name, Machine: id.Machine})
		name := AttachmentName(handle1, testDriver, id.Name)
		grant := Grant{Node: id, SubsystemNQN: "nqn", Generation: uint64(generation) + 7, Access: AccessBlock, Mode: ModeMultiWriter}
		attachment := Attachment{Name: name, NodeName: id.Name, NodeID: id.String(), Attached: true, Grant: grant}
		cluster.cachedVA[name], cluster.liveVA[name] = attachment, attachment
	}
	return cluster
}

// What isn't known may be the newest grant. To go by the others would shut its node out.
func TestOneUnknownGrantLeavesAllUnknown(t *testing.T) {
	for _, cached := range []bool{true, false} {
		nodes := []NodeID{nodeIDA(), nodeB()}
		for _, unknown := range nodes {
			for what, name := range map[string]string{"node": unknown.Name, "attachment": AttachmentName(handle1, testDriver, unknown.Name)} {
				if what == "attachment" && !cached {
					continue // those that are listed aren't asked for one by one
				}
				cluster := grantedTo(nodes[0], nodes[1])
				if !cached {
					clear(cluster.cachedVA)
				}
				if grants, err := NewNodes(testDriver, cluster, never).Grants(t.Context(), handle1); err != nil || len(grants) != 2 {
					t.Errorf("all is known: got %+v, %v, want both", grants, err)
				}
				cluster.failedFor = map[string]error{name: errors.New("refused")}
				if grants, err := NewNodes(testDriver, cluster, never).Grants(t.Context(), handle1); !errors.Is(err, ErrUnknown) || len(grants) > 0 {
					t.Errorf("cached %t, %s of %s is unknown: got %+v, %v, want ErrUnknown alone", cached, what, unknown.Name, grants, err)
				}
			}
		}
	}
}

// A grant that doesn't count leaves the others, whichever comes first.
func TestAGrantThatIsNotValidLeavesTheOther(t *testing.T) {
	for _, invalid := range []NodeID{nodeIDA(), nodeB()} {
		cluster := grantedTo(nodeIDA(), nodeB())
		name := AttachmentName(handle1, testDriver, invalid.Name)
		attachment := cluster.liveVA[name]
		attachment.Attached = false
		cluster.liveVA[name] = attachment
		for range 10 { // the cache has no order
			if grants, err := NewNodes(testDriver, cluster, never).Grants(t.Context(), handle1); err != nil || len(grants) != 1 || grants[0].Node == invalid {
				t.Fatalf("%s isn't attached: got %+v, %v, want the other's alone", invalid, grants, err)
			}
		}
	}
}

func TestTheNewestGrantIsThatOfTheHighestGeneration(t *testing.T) {
	for _, order := range [][2]NodeID{{nodeIDA(), nodeB()}, {nodeB(), nodeIDA()}} {
		cluster := grantedTo(order[0], order[1])
		for range 10 { // the cache has no order
			if got := NewNodes(testDriver, cluster, never).Granted(handle1); got.Generation != 8 || got.Node != order[1] {
				t.Fatalf("got %+v, want generation 8 of %s", got, order[1])
			}
		}
	}
}

// Who isn't a holder, but would be admitted by the attachment that it has.
func TestOthersGranted(t *testing.T) {
	grant := Grant{Node: nodeIDA(), SubsystemNQN: "nqn", Generation: 9}
	tests := map[string]struct {
		attachment Attachment
		record     Record
		want       []NodeID
	}{
		"under the record's epoch": {Attachment{Grant: grant}, Record{SubsystemNQN: "nqn", Holders: []NodeID{nodeB()}}, []NodeID{nodeIDA()}},
		"of a holder":              {Attachment{Grant: grant}, Record{SubsystemNQN: "nqn", Holders: []NodeID{nodeIDA()}}, nil},
		"under another epoch":      {Attachment{Grant: grant}, Record{SubsystemNQN: "later"}, nil},
		"detaching":                {Attachment{Grant: grant, DetachingSince: time.Unix(1, 0)}, Record{SubsystemNQN: "nqn"}, nil},
		"without a grant":          {Attachment{}, Record{SubsystemNQN: "nqn"}, nil},
	}
	for name, test := range tests {
		cluster := orderly()
		clear(cluster.cachedVA)
		cluster.cachedVA["va"] = test.attachment
		if got := NewNodes(testDriver, cluster, never).OthersGranted(handle1, test.record); !slices.Equal(got, test.want) {
			t.Errorf("%s: got %v, want %v", name, got, test.want)
		}
	}
}
