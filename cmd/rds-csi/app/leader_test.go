package app

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// ledWork is work that notes how often it ran, and how many of all candidates work at once.
type ledWork struct {
	working *atomic.Int32 // of all candidates
	most    *atomic.Int32
	ending  time.Duration // how long it takes to end
	fails   error
	runs    atomic.Int32
	endedAt atomic.Pointer[time.Time]
	idle    sync.WaitGroup
}

func (w *ledWork) Run(ctx context.Context) error {
	w.idle.Add(1)
	defer w.idle.Done()
	w.runs.Add(1)
	w.most.Store(max(w.most.Load(), w.working.Add(1)))
	defer w.working.Add(-1)
	if w.fails != nil {
		return w.fails
	}
	<-ctx.Done()
	<-time.After(w.ending)
	now := time.Now()
	w.endedAt.Store(&now)
	return nil
}

func (w *ledWork) Stop() { w.idle.Wait() }

// observedLeading records whether a candidate leads.
type observedLeading struct{ leads atomic.Bool }

func (h *observedLeading) BeginLeading() { h.leads.Store(true) }
func (h *observedLeading) EndLeading()   { h.leads.Store(false) }

// badLock is a lock whose requests can be made to fail, at once or after hanging for as long as a client waits.
type badLock struct {
	resourcelock.Interface
	hangs, fails atomic.Bool
}

func (l *badLock) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	if err := l.bad(ctx); err != nil {
		return nil, nil, err
	}
	return l.Interface.Get(ctx)
}

func (l *badLock) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	if err := l.bad(ctx); err != nil {
		return err
	}
	return l.Interface.Update(ctx, record)
}

func (l *badLock) bad(ctx context.Context) error {
	switch {
	case l.fails.Load():
		return errors.New("connection refused")
	case l.hangs.Load():
		ctx, cancel := context.WithTimeout(ctx, defaultElection().renew/2)
		defer cancel()
		<-ctx.Done()
		return ctx.Err()
	default:
		return nil
	}
}

// ballot is an API server with candidates, inside a bubble.
type ballot struct {
	client        *fake.Clientset
	working, most atomic.Int32
}

type candidate struct {
	*election
	observedLeading
	work   *ledWork
	lock   *badLock
	cancel context.CancelFunc
	done   chan error
}

func defaultElection() electionOptions {
	return electionOptions{leaseName: controllerLease, enabled: true, namespace: "ns", lease: 15 * time.Second, renew: 10 * time.Second, retry: 2 * time.Second}
}

// stands adds a candidate. work may be changed before it leads.
func (b *ballot) stands(t *testing.T, identity string) *candidate {
	t.Helper()
	c := &candidate{work: &ledWork{working: &b.working, most: &b.most}, done: make(chan error, 1)}
	c.lock = &badLock{Interface: &resourcelock.LeaseLock{
		LeaseMeta: metav1.ObjectMeta{Namespace: "ns", Name: controllerLease}, Client: b.client.CoordinationV1(),
		LockConfig: resourcelock.ResourceLockConfig{Identity: identity},
	}}
	c.election = &election{options: defaultElection(), lock: c.lock, tasks: c.work, observer: &c.observedLeading}
	ctx, cancel := context.WithCancel(t.Context())
	c.cancel = cancel
	go func() { c.done <- c.Run(ctx) }()
	synctest.Wait()
	return c
}

// leaves ends a candidate, and returns what its Run did.
func (c *candidate) leaves() error {
	c.cancel()
	return <-c.done
}

func (b *ballot) holder(t *testing.T) string {
	t.Helper()
	lease, err := b.client.CoordinationV1().Leases("ns").Get(t.Context(), controllerLease, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return *lease.Spec.HolderIdentity
}

func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// A leader that is asked to end keeps the lease until its tasks have ended, however long that takes. Then it releases
// the lease, so that the other needn't wait until it expires.
func TestLeadershipPassesOnWithoutOverlap(t *testing.T) {
	for _, ending := range []time.Duration{0, time.Second, time.Minute} {
		t.Run(ending.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &ballot{client: fake.NewClientset()}
				first := b.stands(t, "first")
				second := b.stands(t, "second")
				third := b.stands(t, "third")
				first.work.ending = ending
				pass(time.Minute)
				if err := third.leaves(); err != nil {
					t.Errorf("Run: %v", err)
				}
				if !first.leads.Load() || second.leads.Load() || b.holder(t) != "first" {
					t.Fatal("want the first to lead, the second to stand by, and the third to take nothing along")
				}
				if err := first.leaves(); err != nil {
					t.Errorf("Run: %v", err)
				}
				if first.leads.Load() {
					t.Error("it says that it leads after Run has returned")
				}
				pass(5 * time.Second) // two retry periods and jitter
				if !second.leads.Load() {
					t.Error("the second doesn't lead though the lease was released")
				}
				if n := b.most.Load(); n != 1 {
					t.Errorf("%d worked at once, want 1", n)
				}
				if err := second.leaves(); err != nil || b.holder(t) != "" {
					t.Errorf("Run: %v; the lease is held by %q after all have left", err, b.holder(t))
				}
			})
		})
	}
}

// A leader that can't renew ends its work before anybody else may begin, whether its requests fail or hang, and stands
// again when the API server is back.
func TestALeaderThatCantRenewEndsItsWorkInTime(t *testing.T) {
	for name, cutOff := range map[string]func(*badLock, bool){
		"requests hang": func(lock *badLock, off bool) { lock.hangs.Store(off) },
		"requests fail": func(lock *badLock, off bool) { lock.fails.Store(off) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &ballot{client: fake.NewClientset()}
				c := b.stands(t, "first")
				pass(time.Minute)
				cutOff(c.lock, true)
				renewed := b.renewed(t)
				pass(time.Minute)
				if c.leads.Load() || b.working.Load() != 0 {
					t.Fatal("it goes on working without a lease")
				}
				if took := c.work.endedAt.Load().Sub(renewed); took >= c.options.lease {
					t.Errorf("the work ended %s after the last renewal; another may have begun after %s", took, c.options.lease)
				}
				select {
				case err := <-c.done:
					t.Fatalf("Run returned %v, want it to stand again", err)
				default:
				}
				cutOff(c.lock, false)
				pass(c.options.renew + 2*c.options.retry)
				if n := c.work.runs.Load(); n != 2 || !c.leads.Load() {
					t.Errorf("the work ran %d times, want 2: it stands again", n)
				}
				if err := c.leaves(); err != nil {
					t.Errorf("Run: %v", err)
				}
			})
		})
	}
}

// renewed is when the lease was last renewed.
func (b *ballot) renewed(t *testing.T) time.Time {
	t.Helper()
	lease, err := b.client.CoordinationV1().Leases("ns").Get(t.Context(), controllerLease, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return lease.Spec.RenewTime.Time
}

// A leader that vanishes without a word is followed once its lease has run out.
func TestASilentLeaderIsFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &ballot{client: fake.NewClientset()}
		first := b.stands(t, "first")
		second := b.stands(t, "second")
		pass(time.Minute)
		first.lock.hangs.Store(true)
		renewed := b.renewed(t)
		pass(2 * second.options.lease)
		if !second.leads.Load() || first.leads.Load() || b.most.Load() != 1 {
			t.Fatalf("30 s after the last sign of the first: first leads %t, second leads %t, at most %d at once", first.leads.Load(), second.leads.Load(), b.most.Load())
		}
		if begun := first.work.endedAt.Load(); !begun.Before(renewed.Add(first.options.lease)) {
			t.Errorf("the first worked until %s after its last renewal", begun.Sub(renewed))
		}
		first.lock.hangs.Store(false)
		pass(time.Minute)
		if first.leads.Load() || !second.leads.Load() {
			t.Error("the first took the lease back from the second")
		}
		if err := errors.Join(first.leaves(), second.leaves()); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func TestWorkThatFailsEndsTheElection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &ballot{client: fake.NewClientset()}
		first := b.stands(t, "first")
		second := b.stands(t, "second")
		second.work.fails = errors.New("the caches are broken")
		if err := first.leaves(); err != nil {
			t.Errorf("Run: %v", err)
		}
		if err := <-second.done; !errors.Is(err, second.work.fails) || b.holder(t) != "" {
			t.Errorf("Run: %v, the lease is held by %q; want the work's error, and the lease released", err, b.holder(t))
		}
	})
}

func TestWhereTheLeaseIs(t *testing.T) {
	here := written(t, "storage\n")
	for want, got := range map[string]string{
		"flag":    (&electionOptions{namespace: "flag"}).namespaceIn(here),
		"storage": (&electionOptions{}).namespaceIn(here),
		"rds-csi": (&electionOptions{}).namespaceIn(filepath.Join(t.TempDir(), "none")),
	} {
		if got != want {
			t.Errorf("got namespace %q, want %q", got, want)
		}
	}
}
