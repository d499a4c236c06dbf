package csi

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
)

// fakeKubernetes is a cluster whose caches and API server can disagree. What isn't set isn't there.
type fakeKubernetes struct {
	unsynced       bool
	cached, live   map[string]attach.Node
	cachedVA       map[string]attach.Attachment
	liveVA         map[string]attach.Attachment
	failed         error
	askedNodesLive int
	listed         int
	listFailed     error
}

func (f *fakeKubernetes) Synced() bool { return !f.unsynced }

func (f *fakeKubernetes) CachedNode(name string) (attach.Node, bool) {
	node, found := f.cached[name]
	return node, found
}

func (f *fakeKubernetes) AwaitAttachment(ctx context.Context, name string) (attach.Attachment, bool) {
	attachment, found := f.cachedVA[name]
	if !found {
		<-ctx.Done()
	}
	return attachment, found
}

func (f *fakeKubernetes) LiveNode(_ context.Context, name string) attach.Answer[attach.Node] {
	f.askedNodesLive++
	node, found := f.live[name]
	return attach.Answer[attach.Node]{Value: node, Found: found && f.failed == nil, Err: f.failed}
}

func (f *fakeKubernetes) LiveAttachment(_ context.Context, name string) attach.Answer[attach.Attachment] {
	attachment, found := f.liveVA[name]
	return attach.Answer[attach.Attachment]{Value: attachment, Found: found && f.failed == nil, Err: f.failed}
}

func (f *fakeKubernetes) CachedAttachmentsOf(string) []attach.Attachment {
	return slices.Collect(maps.Values(f.cachedVA))
}

func (f *fakeKubernetes) LiveAttachmentsOf(context.Context, string) ([]attach.Attachment, error) {
	f.listed++
	return slices.Collect(maps.Values(f.liveVA)), f.listFailed
}

func (f *fakeKubernetes) AttachmentsChanged(string) <-chan struct{} { return nil }

// never is a mass deletion that doesn't happen.
func never() bool { return false }

func nodeIDA() attach.NodeID { return attach.NodeID{Name: "node-a", Machine: "machine-a"} }

// orderly is a cluster in which node-a may have the volume.
func orderly() *fakeKubernetes {
	node := attach.Node{Name: "node-a", Machine: "machine-a"}
	name := attach.AttachmentName(handle1, DriverName, "node-a")
	return &fakeKubernetes{
		cached: map[string]attach.Node{"node-a": node}, live: map[string]attach.Node{"node-a": node},
		cachedVA: map[string]attach.Attachment{name: {Name: name}}, liveVA: map[string]attach.Attachment{name: {Name: name}},
	}
}

func (f *fakeKubernetes) change(node attach.Node) {
	f.cached[node.Name], f.live[node.Name] = node, node
}

func (f *fakeKubernetes) changeVA(attachment attach.Attachment) {
	name := attach.AttachmentName(handle1, DriverName, "node-a")
	f.cachedVA[name], f.liveVA[name] = attachment, attachment
}

func TestAdmit(t *testing.T) {
	tests := map[string]struct {
		change func(*fakeKubernetes)
		want   error
	}{
		"in order":                             {func(*fakeKubernetes) {}, nil},
		"caches not filled":                    {func(f *fakeKubernetes) { f.unsynced = true }, attach.ErrUnknown},
		"node just joined, cache is behind":    {func(f *fakeKubernetes) { clear(f.cached) }, nil},
		"no such node":                         {func(f *fakeKubernetes) { clear(f.cached); clear(f.live) }, attach.ErrNoNode},
		"not in cache, API server is away":     {func(f *fakeKubernetes) { clear(f.cached); f.failed = errors.New("refused") }, attach.ErrUnknown},
		"node reports another machine":         {func(f *fakeKubernetes) { f.change(attach.Node{Name: "node-a", Machine: "machine-x"}) }, attach.ErrUnknown},
		"node reports no machine":              {func(f *fakeKubernetes) { f.change(attach.Node{Name: "node-a"}) }, attach.ErrUnknown},
		"node is leaving":                      {func(f *fakeKubernetes) { f.change(attach.Node{Name: "node-a", Machine: "machine-a", Leaving: true}) }, attach.ErrLeaving},
		"no attachment asks for it":            {func(f *fakeKubernetes) { clear(f.cachedVA) }, attach.ErrUnknown},
		"its attachment is being deleted":      {func(f *fakeKubernetes) { f.changeVA(attach.Attachment{DetachingSince: time.Unix(1, 0)}) }, attach.ErrSuperseded},
		"its attachment is attached, in cache": {func(f *fakeKubernetes) { f.changeVA(attach.Attachment{Attached: true}) }, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cluster := orderly()
				test.change(cluster)
				admission, err := NewKubernetesNodes(cluster, never).Admit(t.Context(), handle1, nodeIDA())
				if !errors.Is(err, test.want) || (err == nil) != (test.want == nil) {
					t.Errorf("got %v, want %v", err, test.want)
				}
				if want := cluster.cachedVA[attach.AttachmentName(handle1, DriverName, "node-a")].Attached && err == nil; admission.Attached != want {
					t.Errorf("attached: got %t, want %t", admission.Attached, want)
				}
			})
		})
	}
}

// The common case asks the API server nothing: the caches are there for that.
func TestAdmitAsksNothingLiveInTheCommonCase(t *testing.T) {
	cluster := orderly()
	if _, err := NewKubernetesNodes(cluster, never).Admit(t.Context(), handle1, nodeIDA()); err != nil || cluster.askedNodesLive != 0 {
		t.Errorf("got %v after %d live questions, want none", err, cluster.askedNodesLive)
	}
}

// A holder is judged by what the API server says now, whatever the caches say.
func TestStandingsAreLive(t *testing.T) {
	tests := map[string]struct {
		change func(*fakeKubernetes)
		want   attach.Standing
	}{
		"attached":                         {func(*fakeKubernetes) {}, attach.StandingAttached},
		"gone, though the cache has it":    {func(f *fakeKubernetes) { clear(f.live) }, attach.StandingGone},
		"there, though the cache lacks it": {func(f *fakeKubernetes) { clear(f.cached); clear(f.cachedVA) }, attach.StandingAttached},
		"API server is away":               {func(f *fakeKubernetes) { f.failed = errors.New("refused") }, attach.StandingUnknown},
		"detached":                         {func(f *fakeKubernetes) { clear(f.liveVA) }, attach.StandingDetached},
		"detaching":                        {func(f *fakeKubernetes) { f.changeVA(attach.Attachment{DetachingSince: time.Unix(1, 0)}) }, attach.StandingDetaching},
		"another machine that uses the volume": {func(f *fakeKubernetes) {
			f.change(attach.Node{Name: "node-a", Machine: "machine-x", VolumesInUse: []string{handle1}})
		}, attach.StandingInUse},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			cluster := orderly()
			test.change(cluster)
			got := NewKubernetesNodes(cluster, never).Standings(t.Context(), handle1, []attach.NodeID{nodeIDA()})
			if len(got) != 1 || got[0].Standing != test.want || got[0].ID != nodeIDA() {
				t.Errorf("got %+v, want %s", got, test.want)
			}
		})
	}
}

// While too many nodes vanished at once, none of them counts as gone; those that live are what they are.
func TestAMassDeletionHoldsTakeOvers(t *testing.T) {
	cluster := orderly()
	nodes := NewKubernetesNodes(cluster, func() bool { return true })
	if got := nodes.Standings(t.Context(), handle1, []attach.NodeID{nodeIDA()}); got[0].Standing != attach.StandingAttached {
		t.Errorf("a living holder: got %s", got[0].Standing)
	}
	clear(cluster.live)
	if got := nodes.Standings(t.Context(), handle1, []attach.NodeID{nodeIDA()}); got[0].Standing != attach.StandingHeld {
		t.Errorf("a holder that is gone: got %s, want %s", got[0].Standing, attach.StandingHeld)
	}
}

// Only a living node of this very machine that reports the volume unused proves that it let go.
func TestLetGo(t *testing.T) {
	machineA := attach.Node{Name: "node-a", Machine: "machine-a", Since: time.Unix(1000, 0)}
	tests := map[string]struct {
		change func(*fakeKubernetes)
		want   bool
	}{
		"lives, doesn't use it": {func(*fakeKubernetes) {}, true},
		"gone":                  {func(f *fakeKubernetes) { clear(f.live) }, false},
		"API server is away":    {func(f *fakeKubernetes) { f.failed = errors.New("refused") }, false},
		"another machine":       {func(f *fakeKubernetes) { f.change(attach.Node{Name: "node-a", Machine: "machine-x"}) }, false},
		"no identity":           {func(f *fakeKubernetes) { f.change(attach.Node{Name: "node-a"}) }, false},
		"out of service":        {func(f *fakeKubernetes) { n := machineA; n.Leaving = true; f.change(n) }, false},
		"still uses it":         {func(f *fakeKubernetes) { n := machineA; n.VolumesInUse = []string{handle1}; f.change(n) }, false},
		"attachment gone":       {func(f *fakeKubernetes) { clear(f.liveVA) }, false},
		"attachment is older":   {func(f *fakeKubernetes) { f.changeVA(attach.Attachment{Since: machineA.Since.Add(-time.Second)}) }, false},
		"of the same second":    {func(f *fakeKubernetes) { f.changeVA(attach.Attachment{Since: machineA.Since}) }, false},
		"attachment is younger": {func(f *fakeKubernetes) { f.changeVA(attach.Attachment{Since: machineA.Since.Add(time.Second)}) }, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			cluster := orderly()
			cluster.change(machineA)
			cluster.changeVA(attach.Attachment{Since: machineA.Since.Add(time.Hour)})
			test.change(cluster)
			if got := NewKubernetesNodes(cluster, never).LetGo(t.Context(), handle1, nodeIDA()); got != test.want {
				t.Errorf("got %t, want %t", got, test.want)
			}
		})
	}
}

// What was granted counts for a restoration only if the API server vouches for it now.
func TestGrantsAreLive(t *testing.T) {
	grant := attach.Grant{Node: nodeIDA(), SubsystemNQN: "nqn", Generation: 9, Access: "mount", Mode: "single-node-writer"}
	attached := attach.Attachment{NodeName: "node-a", NodeID: nodeA, Attached: true, Grant: grant}
	with := func(change func(*attach.Attachment)) func(*fakeKubernetes) {
		return func(f *fakeKubernetes) {
			name := attach.AttachmentName(handle1, DriverName, "node-a")
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
		"detaching":                    {with(func(a *attach.Attachment) { a.DetachingSince = time.Unix(1, 0) }), 0, false},
		"not attached any more":        {with(func(a *attach.Attachment) { a.Attached = false }), 0, false},
		"attached as another machine":  {with(func(a *attach.Attachment) { a.NodeID = "node-a/machine-x" }), 0, false},
		"no grant":                     {with(func(a *attach.Attachment) { a.Grant = attach.Grant{} }), 0, false},
		"attachment is gone":           {func(f *fakeKubernetes) { clear(f.liveVA) }, 0, false},
		"node is gone":                 {func(f *fakeKubernetes) { clear(f.live) }, 0, false},
		"another machine has the name": {func(f *fakeKubernetes) { f.change(attach.Node{Name: "node-a", Machine: "machine-x"}) }, 0, false},
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
			nodes := NewKubernetesNodes(cluster, never)
			got, err := nodes.Grants(t.Context(), handle1)
			if len(got) != test.want || errors.Is(err, attach.ErrUnknown) != test.fails {
				t.Errorf("got %+v, %v, want %d", got, err, test.want)
			}
			if len(cluster.cachedVA) > 0 && len(got) > 0 && cluster.listed > 0 {
				t.Error("listed all attachments though the cache had what there is")
			}
			if granted := nodes.Granted(handle1); granted != 9 && len(cluster.cachedVA) > 0 {
				t.Errorf("highest generation known: got %d, want 9", granted)
			}
		})
	}
}

// Codes are what the sidecars' retries depend on. The outer meaning of a wrapped error decides.
func TestCodes(t *testing.T) {
	for _, row := range codeTable() {
		if got := codeOf(errors.Join(errors.New("while doing something"), row.is)); got != row.code {
			t.Errorf("%v: got %s, want %s", row.is, got, row.code)
		}
	}
}
