package attach

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

// slowCluster answers the live question about a node only once it is unblocked, even if the context ends before: a
// worker that is busy then stays busy.
type slowCluster struct {
	*fakeCluster
	asked, unblock chan struct{}
}

func newSlowCluster() *slowCluster {
	return &slowCluster{fakeCluster: clusterWith(attachmentOnA()), asked: make(chan struct{}), unblock: make(chan struct{})}
}

func (s *slowCluster) LiveNode(context.Context, string) Answer[Node] {
	close(s.asked)
	<-s.unblock
	return Answer[Node]{Err: errors.New("too late")}
}

// started runs the reconciler in the background; the channel gives what Run returned.
func started(ctx context.Context, r *Reconciler) <-chan error {
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	synctest.Wait()
	return done
}

func ended(t *testing.T, done <-chan error) {
	t.Helper()
	synctest.Wait()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("Run: %v", err)
		}
	default:
		t.Error("Run hasn't returned")
	}
}

func TestASecondRunWhileOneIsRunningIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := clusterWith(attachmentOnA())
		r, _ := reconcilerOf(t, cluster, &fakeAppliance{})
		done := started(t.Context(), r)
		if err := r.Run(t.Context()); !errors.Is(err, errRunning) {
			t.Errorf("got %v, want errRunning", err)
		}
		// The refused call must not have ended the run, nor taken its place.
		cluster.change(func() { cluster.attachments["vb"] = named(attachmentOnA(), "vb") })
		r.Enqueue("vb")
		synctest.Wait()
		if n := cluster.deletions(); n != 2 {
			t.Errorf("%d attachments cleared, want 2: the first run isn't whole any more", n)
		}
		r.Stop()
		ended(t, done)
	})
}

func named(attachment Attachment, name string) Attachment {
	attachment.Name = name
	return attachment
}

// Leadership may come back: every run looks at everything anew, since nobody listened in between.
func TestItRunsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := clusterWith(attachmentOnA())
		r, _ := reconcilerOf(t, cluster, &fakeAppliance{})
		for i := range 3 {
			ctx, cancel := context.WithCancel(t.Context())
			done := started(ctx, r)
			if n := cluster.deletions(); n != i+1 {
				t.Fatalf("run %d: %d attachments cleared so far, want %d", i+1, n, i+1)
			}
			cancel()
			ended(t, done)
			cluster.change(func() { cluster.attachments["va"] = attachmentOnA() })
			r.Enqueue("va")
			advance(time.Hour)
			if n := cluster.deletions(); n != i+1 {
				t.Fatalf("cleared outside a run")
			}
		}
	})
}

// What failed in one run doesn't wait for the back-off of that run in the next one.
func TestBackOffEndsWithItsRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := clusterWith(attachmentOnA())
		cluster.liveErr = errors.New("connection refused")
		r, _ := reconcilerOf(t, cluster, &fakeAppliance{})
		done := started(t.Context(), r)
		advance(10 * time.Minute)
		r.Stop()
		ended(t, done)
		cluster.change(func() { cluster.liveErr = nil })
		done = started(t.Context(), r)
		if n := cluster.deletions(); n != 1 {
			t.Errorf("%d attachments cleared at once, want 1", n)
		}
		r.Stop()
		ended(t, done)
	})
}

func TestStopWaitsForEveryWorker(t *testing.T) {
	for name, stop := range map[string]func(*Reconciler, context.CancelFunc){
		"Stop":             func(r *Reconciler, _ context.CancelFunc) { r.Stop() },
		"Stop, ctx ending": func(r *Reconciler, cancel context.CancelFunc) { cancel(); r.Stop() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cluster := newSlowCluster()
				r, seen := reconcilerOf(t, cluster, &fakeAppliance{})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				done := started(ctx, r)
				<-cluster.asked
				stopped := make(chan struct{})
				go func() { defer close(stopped); stop(r, cancel) }()
				advance(time.Hour)
				select {
				case <-stopped:
					t.Fatal("Stop returned while a worker is busy")
				case err := <-done:
					t.Fatalf("Run returned while a worker is busy: %v", err)
				default:
				}
				if err := r.Run(t.Context()); !errors.Is(err, errRunning) {
					t.Errorf("run while the last worker is busy: got %v, want errRunning", err)
				}
				close(cluster.unblock)
				<-stopped
				if n := len(seen.actions); n != 1 {
					t.Errorf("%d looks finished when Stop returned, want 1", n)
				}
				ended(t, done)
			})
		})
	}
}

func TestStopBeforeRunAndTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := clusterWith(attachmentOnA())
		r, _ := reconcilerOf(t, cluster, &fakeAppliance{})
		r.Stop()
		done := started(t.Context(), r)
		if n := cluster.deletions(); n != 1 {
			t.Errorf("%d attachments cleared, want 1: a Stop before Run must not count", n)
		}
		var stops sync.WaitGroup
		for range 3 {
			stops.Go(r.Stop)
		}
		stops.Wait()
		ended(t, done)
		r.Stop()
	})
}

// neverSynced is a cluster whose caches are never filled.
type neverSynced struct{ *fakeCluster }

func (neverSynced) WaitForSync(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// Ending by request is no error, not even before the caches are filled; and nothing was cleared by then.
func TestStopBeforeTheCachesAreFilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := clusterWith(attachmentOnA())
		r, _ := reconcilerOf(t, neverSynced{cluster}, &fakeAppliance{})
		done := started(t.Context(), r)
		r.Stop()
		ended(t, done)
		if n := cluster.deletions(); n != 0 {
			t.Errorf("%d attachments cleared, want none", n)
		}
	})
}

// A reconciler that stands by, one that ran and one that never did leave no goroutine behind.
func TestNoGoroutineIsLeft(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	r, _ := reconcilerOf(t, clusterWith(attachmentOnA()), &fakeAppliance{})
	for range 3 {
		done := make(chan error, 1)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { done <- r.Run(ctx) }()
		r.Stop()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}

// countedCluster counts the live questions about nodes, each of which takes until it is unblocked.
type countedCluster struct {
	*fakeCluster
	begun   atomic.Int64
	unblock chan struct{}
}

func (c *countedCluster) LiveNode(context.Context, string) Answer[Node] {
	c.begun.Add(1)
	<-c.unblock
	return Answer[Node]{Err: errors.New("too late")}
}

// What is queued when the run ends belongs to the next leader.
func TestNothingIsBegunAfterStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := &countedCluster{fakeCluster: clusterWith(attachmentOnA()), unblock: make(chan struct{})}
		for i := range 20 {
			name := fmt.Sprint("va-", i)
			cluster.attachments[name] = named(attachmentOnA(), name)
		}
		r, seen := reconcilerOf(t, cluster, &fakeAppliance{})
		done := started(t.Context(), r)
		go r.Stop()
		synctest.Wait()
		close(cluster.unblock)
		ended(t, done)
		if begun, workers := cluster.begun.Load(), testConfig().Workers; begun != int64(workers) || len(seen.actions) != workers {
			t.Errorf("begun on %d attachments, ended on %d, want the %d that the workers had", begun, len(seen.actions), workers)
		}
	})
}

// hanging is a cluster and an appliance that never answer. It keeps the error of each context that ended.
type hanging struct {
	*fakeCluster
	*fakeAppliance
	mu    sync.Mutex
	ended []error
}

func (h *hanging) hang(ctx context.Context) error {
	<-ctx.Done()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended = append(h.ended, ctx.Err())
	return ctx.Err()
}

func (h *hanging) take() []error {
	h.mu.Lock()
	defer h.mu.Unlock()
	defer func() { h.ended = nil }()
	return h.ended
}

func (h *hanging) LiveNode(ctx context.Context, _ string) Answer[Node] {
	return Answer[Node]{Err: h.hang(ctx)}
}

func (h *hanging) Refresh(ctx context.Context) error { return h.hang(ctx) }

// A worker, or the Refresh, that waits for an answer for ever would never look at anything again.
func TestWhatGetsNoAnswerIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := &hanging{fakeCluster: clusterWith(attachmentOnA()), fakeAppliance: &fakeAppliance{}}
		r, _ := reconcilerOf(t, world, world)
		done := started(t.Context(), r)
		if given := world.take(); len(given) > 0 {
			t.Errorf("given up at once: %v", given)
		}
		advance(max(clearTimeout, refreshTimeout))
		if given := world.take(); !slices.Equal(given, []error{context.DeadlineExceeded, context.DeadlineExceeded}) {
			t.Errorf("after their time: %v, want both given up", given)
		}
		advance(refreshRetry + time.Second) // both are tried again by now
		world.take()
		r.Stop()
		if given := world.take(); !slices.Equal(given, []error{context.Canceled, context.Canceled}) {
			t.Errorf("when Stop returned: %v, want both canceled", given)
		}
		ended(t, done)
	})
}

// After it went well once, an error has the next try come soon again.
func TestBackOffIsForgottenOnceItWentWell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := clusterWith(attachmentOnA())
		cluster.liveErr = errors.New("connection refused")
		r, actions := running(t, cluster, 24*time.Hour)
		advance(10 * time.Minute)
		cluster.change(func() { cluster.cachedNodes["a"] = Node{Name: "a", Machine: "machine-a"} })
		advance(backoffMax + time.Second)
		if got := actions(); got[len(got)-1] != ActionNone {
			t.Fatalf("got %v, want that it went well at last", got)
		}
		before := len(actions())
		cluster.change(func() { clear(cluster.cachedNodes) })
		r.Enqueue("va")
		advance(backoffBase)
		if got := actions()[before:]; !slices.Equal(got, []Action{ActionError, ActionError}) {
			t.Errorf("got %v, want a second try after %s", got, backoffBase)
		}
	})
}

// The look that is due when a detach has taken too long must find that it has.
func TestADetachThatTakesTooLongIsReportedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		attachment := attachmentOnA()
		attachment.DetachingSince = time.Now()
		_, actions := running(t, clusterWith(attachment), 24*time.Hour)
		advance(testConfig().StuckAfter - time.Second)
		if got := actions(); slices.Contains(got, ActionDetachStuck) {
			t.Errorf("before its time: %v", got)
		}
		advance(time.Second)
		if got := actions(); got[len(got)-1] != ActionDetachStuck {
			t.Errorf("in time: %v, want %s", got, ActionDetachStuck)
		}
	})
}
