package attach

import (
	"context"
	"errors"
	"sync"
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
