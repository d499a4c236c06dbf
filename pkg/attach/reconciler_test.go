package attach

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fakeCluster is a cluster whose cache and API server can disagree. Maps without an entry mean "not found".
type fakeCluster struct {
	mu          sync.Mutex
	attachments map[string]Attachment
	cachedNodes map[string]Node
	liveNodes   map[string]Node
	// liveAttachments, unless nil, are what the API server has instead of what is cached.
	liveAttachments  map[string]Attachment
	liveErr, nodeErr error
	pods             []string
	podsErr          error
	deleteErr        error
	deleted          []Attachment
	asked            int
}

func (f *fakeCluster) WaitForSync(context.Context) error { return nil }

func (f *fakeCluster) CachedAttachments() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var names []string
	for name := range f.attachments {
		names = append(names, name)
	}
	return names
}

func (f *fakeCluster) CachedAttachment(name string) (Attachment, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	attachment, found := f.attachments[name]
	return attachment, found
}

func (f *fakeCluster) CachedAttachmentsOf(volume string) []Attachment {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []Attachment
	for _, attachment := range f.attachments {
		if attachment.Volume == volume {
			all = append(all, attachment)
		}
	}
	return all
}

func (f *fakeCluster) CachedNode(name string) (Node, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	node, found := f.cachedNodes[name]
	return node, found
}

func (f *fakeCluster) LiveNode(_ context.Context, name string) Answer[Node] {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	node, found := f.liveNodes[name]
	return Answer[Node]{Value: node, Found: found, Err: cmp.Or(f.liveErr, f.nodeErr)}
}

func (f *fakeCluster) LiveAttachment(_ context.Context, name string) Answer[Attachment] {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.liveAttachments == nil {
		attachment, found := f.attachments[name]
		return Answer[Attachment]{Value: attachment, Found: found, Err: f.liveErr}
	}
	attachment, found := f.liveAttachments[name]
	return Answer[Attachment]{Value: attachment, Found: found, Err: f.liveErr}
}

func (f *fakeCluster) PodsUsing(context.Context, Attachment) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.pods), f.podsErr
}

func (f *fakeCluster) DeleteAttachment(_ context.Context, attachment Attachment) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.deleteErr != nil {
		return f.deleteErr
	}
	f.deleted = append(f.deleted, attachment)
	delete(f.attachments, attachment.Name)
	return nil
}

func (f *fakeCluster) change(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *fakeCluster) deletions() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.deleted)
}

func attachmentOnA() Attachment {
	return Attachment{Name: "va", UID: "uid", ResourceVersion: "7", NodeName: "a", NodeID: "a/machine-a", PV: "pv", Volume: "v", Attached: true, Since: start().Add(-time.Minute)}
}

func clusterWith(attachment Attachment) *fakeCluster {
	return &fakeCluster{attachments: map[string]Attachment{attachment.Name: attachment}, cachedNodes: map[string]Node{}, liveNodes: map[string]Node{}}
}

func TestClear(t *testing.T) {
	failed := errors.New("connection refused")
	machineA, machineX := Node{Name: "a", Machine: "machine-a"}, Node{Name: "a", Machine: "machine-x"}
	using := func(volumes ...string) Node { return Node{Name: "a", Machine: "machine-x", VolumesInUse: volumes} }
	tests := map[string]struct {
		prepare func(*fakeCluster)
		want    Action
		deleted bool
	}{
		"node deleted":                             {func(*fakeCluster) {}, ActionClear, true},
		"node is there":                            {func(f *fakeCluster) { f.cachedNodes["a"] = machineA; f.liveNodes["a"] = machineA }, ActionNone, false},
		"cache is behind: the node is back":        {func(f *fakeCluster) { f.liveNodes["a"] = machineA }, ActionRecheck, false},
		"API server can't be asked":                {func(f *fakeCluster) { f.liveErr = failed }, ActionError, false},
		"another machine under the name":           {func(f *fakeCluster) { f.cachedNodes["a"] = machineX; f.liveNodes["a"] = machineX }, ActionClear, true},
		"another machine, but only the cache says": {func(f *fakeCluster) { f.cachedNodes["a"] = machineX; f.liveNodes["a"] = machineA }, ActionRecheck, false},
		"another machine that uses the volume":     {func(f *fakeCluster) { f.cachedNodes["a"] = machineX; f.liveNodes["a"] = using("v") }, ActionInUse, false},
		"another machine, in a Node that was made later": {func(f *fakeCluster) {
			later := using("v")
			later.Since = start()
			f.cachedNodes["a"], f.liveNodes["a"] = later, later
		}, ActionClear, true},
		"another machine that uses another volume": {func(f *fakeCluster) { f.cachedNodes["a"] = using("v"); f.liveNodes["a"] = using("w") }, ActionClear, true},
		"node without an identity proves nothing":  {func(f *fakeCluster) { f.cachedNodes["a"] = Node{Name: "a"}; f.liveNodes["a"] = Node{Name: "a"} }, ActionNone, false},
		"pods still use the volume":                {func(f *fakeCluster) { f.pods = []string{"default/p"} }, ActionWaitForPods, false},
		"pods can't be asked for":                  {func(f *fakeCluster) { f.podsErr = failed }, ActionError, false},
		"deletion failed":                          {func(f *fakeCluster) { f.deleteErr = failed }, ActionError, false},
		"attachment changed since it was seen":     {func(f *fakeCluster) { f.deleteErr = fmt.Errorf("delete: %w", ErrChanged) }, ActionRecheck, false},
		"attachment is gone":                       {func(f *fakeCluster) { clear(f.attachments) }, ActionNone, false},
		"attachment is being deleted": {func(f *fakeCluster) {
			a := attachmentOnA()
			a.DetachingSince = time.Now()
			f.attachments["va"] = a
		}, ActionNone, false},
		"attachment has been deleting for too long": {func(f *fakeCluster) {
			a := attachmentOnA()
			a.DetachingSince = time.Now().Add(-time.Hour)
			f.attachments["va"] = a
		}, ActionDetachStuck, false},
		"attachment without a PersistentVolume": {func(f *fakeCluster) { a := attachmentOnA(); a.PV = ""; f.attachments["va"] = a }, ActionSkip, false},
		"attachment of an unknown volume":       {func(f *fakeCluster) { a := attachmentOnA(); a.Volume = ""; f.attachments["va"] = a }, ActionSkip, false},
		"attachment that names no node":         {func(f *fakeCluster) { a := attachmentOnA(); a.NodeName = ""; f.attachments["va"] = a }, ActionSkip, false},
		"attachment with a foreign node ID":     {func(f *fakeCluster) { a := attachmentOnA(); a.NodeID = "i-0abc"; f.attachments["va"] = a }, ActionSkip, false},
		"attachment of a volume of v0.x": {func(f *fakeCluster) {
			a := attachmentOnA()
			a.Volume = handleOfVersion0
			f.attachments["va"] = a
		}, ActionSkip, false},
		"attachment of a volume of v0.x, deleting for too long": {func(f *fakeCluster) {
			a := attachmentOnA()
			a.Volume, a.NodeID, a.DetachingSince = handleOfVersion0, "a", time.Now().Add(-time.Hour)
			f.attachments["va"] = a
		}, ActionDetachStuck, false},
		"attachment without a node ID, node deleted": {func(f *fakeCluster) { a := attachmentOnA(); a.NodeID = ""; f.attachments["va"] = a }, ActionClear, true},
		"attachment without a node ID, other machine": {func(f *fakeCluster) {
			a := attachmentOnA()
			a.NodeID = ""
			f.attachments["va"] = a
			f.cachedNodes["a"], f.liveNodes["a"] = machineX, machineX
		}, ActionNone, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			cluster := clusterWith(attachmentOnA())
			test.prepare(cluster)
			r, seen := reconcilerOf(t, cluster, &fakeAppliance{})
			got, err := r.Work(t.Context(), "va")
			if got.Action != test.want || (err != nil) != (test.want == ActionError) {
				t.Errorf("got %+v, %v, want %s", got, err, test.want)
			}
			if test.want == ActionRecheck && got.Again != recheckAfter {
				t.Errorf("to be checked again after %s, want %s", got.Again, recheckAfter)
			}
			if reported := slices.ContainsFunc(seen.notes, func(note Note) bool { return note.Reason == StaleAttachmentCleared }); reported != test.deleted {
				t.Errorf("reported a clearing: %t, want %t", reported, test.deleted)
			}
			if reported := slices.ContainsFunc(seen.notes, func(note Note) bool { return note.Reason == MachineIdentityChanged }); reported != (test.want == ActionInUse) {
				t.Errorf("reported another identity: %t", reported)
			}
			if deleted := len(cluster.deleted) > 0; deleted != test.deleted {
				t.Errorf("deleted: got %t, want %t", deleted, test.deleted)
			}
			if test.deleted {
				if got := cluster.deleted[0]; got.UID != "uid" || got.ResourceVersion != "7" {
					t.Errorf("deleted %+v, want exactly the version that was judged", got)
				}
			}
		})
	}
}

// seen is what a reconciler reported.
type seen struct {
	mu        sync.Mutex
	actions   []Action
	notes     []Note
	pausedFor time.Duration
	// unfinished is the last report, and phases are all of them.
	unfinished Unfinished
	phases     map[Phase][]time.Duration
}

func (s *seen) observer() Observer {
	return Observer{
		Done: func(action Action, _ error, _ time.Duration) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.actions = append(s.actions, action)
		},
		Note: func(note Note) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.notes = append(s.notes, note)
		},
		PausedFor: func() time.Duration {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.pausedFor
		},
		Unfinished: func(unfinished Unfinished) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.unfinished = unfinished
		},
		Phase: func(phase Phase, took time.Duration) {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.phases == nil {
				s.phases = map[Phase][]time.Duration{}
			}
			s.phases[phase] = append(s.phases[phase], took)
		},
	}
}

func testConfig() ReconcilerConfig {
	return ReconcilerConfig{Resync: time.Hour, Workers: 2, StuckAfter: 5 * time.Minute}
}

func reconcilerOf(t *testing.T, cluster Cluster, appliance Appliance) (*Reconciler, *seen) {
	t.Helper()
	seen := &seen{}
	r, err := NewReconciler(testConfig(), cluster, appliance, seen.observer())
	if err != nil {
		t.Fatal(err)
	}
	return r, seen
}

// running starts a reconciler in the bubble and stops it when the test ends.
func running(t *testing.T, cluster Cluster, resync time.Duration) (*Reconciler, func() []Action) {
	t.Helper()
	seen := &seen{}
	config := testConfig()
	config.Resync = resync
	r, err := NewReconciler(config, cluster, &fakeAppliance{}, seen.observer())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return r, func() []Action {
		seen.mu.Lock()
		defer seen.mu.Unlock()
		return slices.Clone(seen.actions)
	}
}

// advance moves the bubble's clock, and returns when everything that was due has been done.
func advance(by time.Duration) {
	<-time.After(by)
	synctest.Wait()
}

// Nodes that vanished while nobody watched are found by the first pass.
func TestFirstPassClearsWhatWasMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := clusterWith(attachmentOnA())
		_, actions := running(t, cluster, time.Hour)
		synctest.Wait()
		if got := actions(); len(got) == 0 || got[0] != ActionClear || cluster.deletions() != 1 {
			t.Errorf("got %v and %d deletions, want it cleared at once", got, cluster.deletions())
		}
	})
}

func TestResyncFindsWhatNoEventReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := clusterWith(attachmentOnA())
		cluster.cachedNodes["a"] = Node{Name: "a", Machine: "machine-a"}
		running(t, cluster, 5*time.Minute)
		synctest.Wait()
		cluster.change(func() { clear(cluster.cachedNodes) })
		advance(5*time.Minute - time.Second)
		if cluster.deletions() != 0 {
			t.Fatal("cleared before the resync, though there was no event")
		}
		advance(2 * time.Second)
		if cluster.deletions() != 1 {
			t.Error("not cleared by the resync")
		}
	})
}

func TestPodsGoingAwayWakesTheWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := clusterWith(attachmentOnA())
		cluster.pods = []string{"default/p"}
		r, _ := running(t, cluster, time.Hour)
		synctest.Wait()
		asked := cluster.asked
		advance(10 * time.Minute)
		if again := cluster.asked - asked; cluster.deletions() != 0 || again != 0 {
			t.Fatalf("while the pod is there: %d deletions, asked %d times more, want none and no polling", cluster.deletions(), again)
		}
		cluster.change(func() { cluster.pods = nil })
		r.Enqueue("va")
		synctest.Wait()
		if cluster.deletions() != 1 {
			t.Error("not cleared once the pod was gone")
		}
	})
}

// While the API server can't be asked, nothing is cleared; the worker comes back with back-off, not in a hot loop.
func TestErrorsBackOffAndClearNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := clusterWith(attachmentOnA())
		cluster.liveErr = errors.New("connection refused")
		_, actions := running(t, cluster, 24*time.Hour)
		advance(10 * time.Minute)
		if n := len(actions()); cluster.deletions() != 0 || n < 5 || n > 20 {
			t.Fatalf("after 10 minutes of errors: %d deletions in %d tries, want none in 5 to 20", cluster.deletions(), n)
		}
		cluster.change(func() { cluster.liveErr = nil })
		advance(backoffMax + time.Second)
		if cluster.deletions() != 1 {
			t.Error("not cleared once the API server answered")
		}
	})
}

// A cache that is behind heals by itself; until then the worker looks again, and clears nothing.
func TestStaleCacheIsRechecked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := clusterWith(attachmentOnA())
		cluster.liveNodes["a"] = Node{Name: "a", Machine: "machine-a"}
		_, actions := running(t, cluster, time.Hour)
		synctest.Wait()
		cluster.change(func() { cluster.cachedNodes["a"] = cluster.liveNodes["a"] })
		advance(recheckAfter + time.Second)
		if got := actions(); got[0] != ActionRecheck || got[len(got)-1] != ActionNone {
			t.Errorf("got %v, want a recheck that ends well", got)
		}
	})
}

func TestInvalidConfiguration(t *testing.T) {
	for _, config := range []ReconcilerConfig{{Resync: 0, Workers: 1, StuckAfter: 1}, {Resync: -1, Workers: 1, StuckAfter: 1}, {Resync: 1, Workers: 0, StuckAfter: 1}, {Resync: 1, Workers: 1}} {
		if _, err := NewReconciler(config, clusterWith(attachmentOnA()), &fakeAppliance{}, Observer{}); err == nil {
			t.Errorf("%+v: want an error", config)
		}
	}
}
