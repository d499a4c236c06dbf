package csi

import (
	"context"
	"errors"
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
				admission, err := NewKubernetesNodes(cluster).Admit(t.Context(), handle1, nodeIDA())
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
	if _, err := NewKubernetesNodes(cluster).Admit(t.Context(), handle1, nodeIDA()); err != nil || cluster.askedNodesLive != 0 {
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
		}, attach.StandingAttached},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			cluster := orderly()
			test.change(cluster)
			got := NewKubernetesNodes(cluster).Standings(t.Context(), handle1, []attach.NodeID{nodeIDA()})
			if len(got) != 1 || got[0].Standing != test.want || got[0].ID != nodeIDA() {
				t.Errorf("got %+v, want %s", got, test.want)
			}
		})
	}
}

func TestReplaced(t *testing.T) {
	tests := map[string]struct {
		change func(*fakeKubernetes)
		want   bool
		fails  bool
	}{
		"same machine":       {func(*fakeKubernetes) {}, false, false},
		"gone":               {func(f *fakeKubernetes) { clear(f.live) }, true, false},
		"another machine":    {func(f *fakeKubernetes) { f.change(attach.Node{Name: "node-a", Machine: "machine-x"}) }, true, false},
		"no identity":        {func(f *fakeKubernetes) { f.change(attach.Node{Name: "node-a"}) }, false, false},
		"API server is away": {func(f *fakeKubernetes) { f.failed = errors.New("refused") }, false, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			cluster := orderly()
			test.change(cluster)
			got, err := NewKubernetesNodes(cluster).Replaced(t.Context(), nodeIDA())
			if got != test.want || errors.Is(err, attach.ErrUnknown) != test.fails {
				t.Errorf("got %t, %v, want %t", got, err, test.want)
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
