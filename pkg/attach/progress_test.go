package attach

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// worked works on an attachment once. What comes of it is in what was reported.
func worked(t *testing.T, r *Reconciler, name string) {
	t.Helper()
	_, _ = r.Work(t.Context(), name)
}

func (s *seen) now() Unfinished {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unfinished
}

// An attachment counts as stale from when its node was proven gone until it is cleared, whatever holds it up meanwhile.
func TestAStaleAttachmentCountsUntilItIsCleared(t *testing.T) {
	failed := errors.New("connection refused")
	for name, test := range map[string]struct {
		hinder func(*fakeCluster, *seen)
		stale  int
	}{
		"pods still use the volume":  {func(f *fakeCluster, _ *seen) { f.pods = []string{"default/p"} }, 1},
		"clearing is paused":         {func(_ *fakeCluster, s *seen) { s.pausedFor = time.Minute }, 1},
		"pods can't be asked for":    {func(f *fakeCluster, _ *seen) { f.podsErr = failed }, 1},
		"deletion fails":             {func(f *fakeCluster, _ *seen) { f.deleteErr = failed }, 1},
		"it has changed":             {func(f *fakeCluster, _ *seen) { f.deleteErr = fmt.Errorf("delete: %w", ErrChanged) }, 1},
		"the API server doesn't say": {func(f *fakeCluster, _ *seen) { f.liveErr = failed }, 0},
		"the node is back":           {func(f *fakeCluster, _ *seen) { f.liveNodes["a"] = Node{Name: "a", Machine: "machine-a"} }, 0},
		"another machine uses it": {func(f *fakeCluster, _ *seen) {
			f.liveNodes["a"] = Node{Name: "a", Machine: "machine-x", VolumesInUse: []string{"v"}}
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cluster := clusterWith(attachmentOnA())
				r, seen := reconcilerOf(t, cluster, &fakeAppliance{})
				test.hinder(cluster, seen)
				since := time.Now()
				for range 3 {
					worked(t, r, "va")
					advance(time.Minute)
				}
				if got := seen.now(); got.Stale != test.stale || (test.stale == 1) != got.StaleSince.Equal(since) {
					t.Errorf("got %+v, want %d since %s", got, test.stale, since)
				}
				// Once it was proven, a question without an answer takes nothing back.
				cluster.liveErr = failed
				worked(t, r, "va")
				if got := seen.now(); got.Stale != test.stale {
					t.Errorf("after a question without an answer: got %+v, want %d", got, test.stale)
				}
				cluster.liveErr, cluster.podsErr, cluster.deleteErr, cluster.pods, seen.pausedFor = nil, nil, nil, nil, 0
				clear(cluster.liveNodes)
				worked(t, r, "va")
				if got := seen.now(); got != (Unfinished{}) || cluster.deletions() != 1 {
					t.Errorf("afterwards: got %+v and %d deletions, want nothing and one", got, cluster.deletions())
				}
			})
		})
	}
}

// What ends otherwise than by being cleared isn't counted for ever.
func TestAStaleAttachmentThatEndsOtherwiseIsForgotten(t *testing.T) {
	deleting := attachmentOnA()
	deleting.DetachingSince = start()
	another := attachmentOnA()
	another.UID = "another"
	for name, end := range map[string]func(*Reconciler, *fakeCluster){
		"it vanishes, and an event says so": func(r *Reconciler, f *fakeCluster) { clear(f.attachments); _, _ = r.Work(context.Background(), "va") },
		"it vanishes, and a resync finds it": func(r *Reconciler, f *fakeCluster) {
			clear(f.attachments)
			run, _ := r.begin(func() {})
			r.enqueueAll(run.queue)
			run.queue.ShutDown()
		},
		"somebody deletes it": func(r *Reconciler, f *fakeCluster) {
			f.attachments["va"] = deleting
			_, _ = r.Work(context.Background(), "va")
		},
		"its node is back": func(r *Reconciler, f *fakeCluster) {
			f.cachedNodes["a"] = Node{Name: "a", Machine: "machine-a"}
			_, _ = r.Work(context.Background(), "va")
		},
		"its node is back, and only the API server knows": func(r *Reconciler, f *fakeCluster) {
			f.liveNodes["a"] = Node{Name: "a", Machine: "machine-a"}
			_, _ = r.Work(context.Background(), "va")
		},
		"its node may only have changed its identity": func(r *Reconciler, f *fakeCluster) {
			f.liveNodes["a"] = Node{Name: "a", Machine: "machine-x", VolumesInUse: []string{"v"}}
			_, _ = r.Work(context.Background(), "va")
		},
		"another one has its name, on a living node": func(r *Reconciler, f *fakeCluster) {
			f.attachments["va"] = another
			f.cachedNodes["a"] = Node{Name: "a", Machine: "machine-a"}
			_, _ = r.Work(context.Background(), "va")
		},
	} {
		t.Run(name, func(t *testing.T) {
			cluster := clusterWith(attachmentOnA())
			cluster.pods = []string{"default/p"}
			r, seen := reconcilerOf(t, cluster, &fakeAppliance{})
			worked(t, r, "va")
			if got := seen.now(); got.Stale != 1 {
				t.Fatalf("before: got %+v", got)
			}
			end(r, cluster)
			if got := seen.now(); got.Stale != 0 || !got.StaleSince.IsZero() {
				t.Errorf("got %+v, want none", got)
			}
		})
	}
}

// Of the same name is not the same.
func TestAnotherStaleAttachmentOfTheNameBeginsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := clusterWith(attachmentOnA())
		cluster.pods = []string{"default/p"}
		r, seen := reconcilerOf(t, cluster, &fakeAppliance{})
		worked(t, r, "va")
		advance(time.Hour)
		another := attachmentOnA()
		another.UID = "another"
		cluster.attachments["va"] = another
		worked(t, r, "va")
		if got := seen.now(); got.Stale != 1 || !got.StaleSince.Equal(time.Now()) {
			t.Errorf("got %+v, want one since %s", got, time.Now())
		}
	})
}

// Clocks differ, so how long a detach takes is measured from when this process saw it first.
func TestTheOldestDetachingAttachmentIsMeasuredByTheOwnClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		detaching := func(name, uid string) Attachment {
			a := attachmentOnA()
			a.Name, a.UID, a.DetachingSince = name, uid, time.Now().Add(-24*time.Hour)
			return a
		}
		first := time.Now()
		cluster := clusterWith(detaching("va", "1"))
		r, seen := reconcilerOf(t, cluster, &fakeAppliance{})
		see := func(want time.Time) {
			t.Helper()
			for _, name := range slices.Sorted(maps.Keys(cluster.attachments)) {
				worked(t, r, name)
			}
			if got := seen.now(); !got.DetachingSince.Equal(want) || got.Stale != 0 {
				t.Errorf("got %+v, want detaching since %s", got, want)
			}
			advance(time.Minute)
		}
		see(first)
		second := time.Now()
		cluster.attachments["vb"] = detaching("vb", "2")
		see(first)
		delete(cluster.attachments, "va")
		worked(t, r, "va")
		see(second)
		third := time.Now()
		cluster.attachments["vb"] = detaching("vb", "3")
		see(third)
		delete(cluster.attachments, "vb")
		r.progress.keep(nil)
		see(time.Time{})
	})
}

// Another process leads now, and reports the same.
func TestNothingIsUnfinishedAfterTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := clusterWith(attachmentOnA())
		cluster.pods = []string{"default/p"}
		r, seen := reconcilerOf(t, cluster, &fakeAppliance{})
		done := started(t.Context(), r)
		if got := seen.now(); got.Stale != 1 {
			t.Errorf("while it runs: got %+v", got)
		}
		r.Stop()
		ended(t, done)
		if got := seen.now(); got != (Unfinished{}) {
			t.Errorf("afterwards: got %+v", got)
		}
	})
}

// From the deletion of the node to the volume on another node, with every phase by this process's clock.
func TestAFailoverIsMeasuredFromTheDeletionOfTheNode(t *testing.T) {
	onB := func() Attachment {
		b := attachmentOnA()
		b.Name, b.UID, b.NodeName, b.NodeID, b.Attached = "vb", "uid-b", "b", "b/machine-b", false
		return b
	}
	all := map[Phase][]time.Duration{
		PhasePodsGone: {30 * time.Second}, PhaseCleared: {40 * time.Second}, PhaseFenced: {41 * time.Second}, PhaseAttached: {101 * time.Second},
	}
	for name, test := range map[string]struct {
		before func(*Reconciler, *fakeCluster)
		want   map[Phase][]time.Duration
	}{
		"a node is deleted":                        {func(r *Reconciler, _ *fakeCluster) { r.Vanished("a") }, all},
		"it was deleted before this process began": {func(*Reconciler, *fakeCluster) {}, nil},
		"another node was deleted":                 {func(r *Reconciler, _ *fakeCluster) { r.Vanished("b") }, nil},
		"the node came back meanwhile":             {func(r *Reconciler, _ *fakeCluster) { r.Vanished("a"); r.Appeared("a") }, nil},
		"a third node had the volume already": {func(r *Reconciler, f *fakeCluster) {
			r.Vanished("a")
			c := onB()
			c.Name, c.UID, c.NodeName, c.NodeID, c.Attached = "vc", "uid-c", "c", "c/machine-c", true
			f.attachments["vc"], f.cachedNodes["c"] = c, Node{Name: "c", Machine: "machine-c"}
		}, all},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cluster := clusterWith(attachmentOnA())
				cluster.cachedNodes["b"] = Node{Name: "b", Machine: "machine-b"}
				r, seen := reconcilerOf(t, cluster, &fakeAppliance{})
				test.before(r, cluster)
				look := func() {
					for _, name := range []string{"va", "vb", "vc"} {
						worked(t, r, name)
					}
				}
				cluster.pods = []string{"default/p"}
				look()
				advance(30 * time.Second)
				cluster.pods, cluster.deleteErr = nil, errors.New("connection refused")
				look()
				advance(10 * time.Second)
				cluster.deleteErr = nil
				worked(t, r, "va")
				// Its finalizer keeps it until external-attacher has had access revoked.
				detaching := attachmentOnA()
				detaching.DetachingSince = time.Now()
				cluster.attachments["va"] = detaching
				cluster.attachments["vb"] = onB()
				look()
				advance(time.Second)
				delete(cluster.attachments, "va")
				look()
				advance(time.Minute)
				b := onB()
				b.Attached = true
				cluster.attachments["vb"] = b
				look()
				look()
				if !maps.EqualFunc(seen.phases, test.want, slices.Equal) {
					t.Errorf("got %v, want %v", seen.phases, test.want)
				}
			})
		})
	}
}

// Nodes that never come back, and failovers that never end, aren't remembered for ever.
func TestWhatIsRememberedOfFailoversIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := clusterWith(attachmentOnA())
		r, _ := reconcilerOf(t, cluster, &fakeAppliance{})
		for i := range 5 {
			node := fmt.Sprintf("node-%d", i)
			stale := attachmentOnA()
			stale.Name, stale.UID, stale.NodeName, stale.Volume = "va-"+node, node, node, node
			cluster.attachments = map[string]Attachment{stale.Name: stale}
			r.Vanished(node)
			worked(t, r, stale.Name)
			advance(followFor + time.Second)
		}
		if nodes, failovers := len(r.progress.deleted), len(r.progress.failovers); nodes != 1 || failovers != 1 {
			t.Errorf("%d nodes and %d failovers are remembered, want the last one of each", nodes, failovers)
		}
	})
}
