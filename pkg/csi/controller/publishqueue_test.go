package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

// visitors pass the queue, and note how they fared.
type visitors struct {
	queue *publishQueue
	mu    sync.Mutex
	log   []string
}

func (v *visitors) note(text string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.log = append(v.log, text)
}

// visit joins the queue of a volume, waits for signal unless it is nil, and is done.
func (v *visitors) visit(ctx context.Context, volume rds.VolumeID, name string, signal <-chan struct{}) {
	ticket, err := v.queue.join(ctx, volume)
	if err != nil {
		v.note(name + " turned away")
		return
	}
	defer ticket.done()
	if signal != nil {
		if err := ticket.wait(ctx, signal); err != nil {
			v.note(name + " gave up")
			return
		}
	}
	v.note(name + " passed")
}

// volumeNamed is the ID of the volume of this name.
func volumeNamed(name string) rds.VolumeID {
	id, err := rds.NewVolumeID("raid10", "rds-csi", "cluster-1", name)
	if err != nil {
		panic(err)
	}
	return id
}

func parsed(t *testing.T, volumeID string) rds.VolumeID {
	t.Helper()
	id, err := rds.ParseVolumeID(volumeID)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func (v *visitors) want(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	v.mu.Lock()
	defer v.mu.Unlock()
	if !slices.Equal(v.log, want) {
		t.Errorf("got %q, want %q", v.log, want)
	}
	v.queue.mu.Lock()
	defer v.queue.mu.Unlock()
	if len(v.queue.tickets) == 0 && v.queue.waiting != 0 {
		t.Errorf("%d are counted as waiting though nobody is there", v.queue.waiting)
	}
}

func TestTheQueueServesInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &visitors{queue: newPublishQueue(10, awaitSignal)}
		signal := make(chan struct{})
		go v.visit(t.Context(), volumeNamed("v"), "first", signal)
		var want []string
		for i := range 5 {
			synctest.Wait()
			go v.visit(t.Context(), volumeNamed("v"), strconv.Itoa(i), nil)
			want = append(want, fmt.Sprint(i, " passed"))
		}
		go v.visit(t.Context(), volumeNamed("w"), "of another volume", nil)
		v.want(t, "of another volume passed")
		close(signal)
		v.want(t, append([]string{"of another volume passed", "first passed"}, want...)...)
	})
}

func TestTheQueueIsBoundedInNumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &visitors{queue: newPublishQueue(2, awaitSignal)}
		signals := map[string]chan struct{}{}
		for _, volume := range []string{"u", "v", "w"} {
			signals[volume] = make(chan struct{})
			go v.visit(t.Context(), volumeNamed(volume), volume, signals[volume])
			synctest.Wait()
		}
		go v.visit(t.Context(), volumeNamed("u"), "second of u", nil)
		v.want(t, "w gave up", "second of u turned away")
		close(signals["u"])
		v.want(t, "w gave up", "second of u turned away", "u passed")
		go v.visit(t.Context(), volumeNamed("u"), "later", signals["v"])
		synctest.Wait()
		close(signals["v"])
		synctest.Wait()
		// Both were waiting for the same signal.
		slices.Sort(v.log[3:])
		v.want(t, "w gave up", "second of u turned away", "u passed", "later passed", "v passed")
	})
}

// Who has waited and works now keeps nobody else from waiting.
func TestOnlyThoseWhoWaitCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		queue := newPublishQueue(1, awaitSignal)
		working, err := queue.join(t.Context(), volumeNamed("v"))
		if err != nil {
			t.Fatal(err)
		}
		defer working.done()
		closed := make(chan struct{})
		close(closed)
		if err := working.wait(t.Context(), closed); err != nil {
			t.Fatal(err)
		}
		other, err := queue.join(t.Context(), volumeNamed("w"))
		if err != nil {
			t.Fatal(err)
		}
		defer other.done()
		if err := other.wait(t.Context(), closed); err != nil {
			t.Errorf("got %v, want that another request may wait", err)
		}
	})
}

func TestTheQueueIsBoundedInTime(t *testing.T) {
	for name, test := range map[string]struct{ deadline, waited time.Duration }{
		"deadline of the call": {15 * time.Second, 15*time.Second - waitMargin},
		"no deadline":          {0, maxWait},
		"too short to wait":    {time.Second, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := &visitors{queue: newPublishQueue(1, awaitSignal)}
				ctx, start := t.Context(), time.Now()
				if test.deadline > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, test.deadline)
					defer cancel()
				}
				v.visit(ctx, volumeNamed("v"), "x", make(chan struct{}))
				v.want(t, "x gave up")
				if waited := time.Since(start); waited != test.waited {
					t.Errorf("waited %s, want %s", waited, test.waited)
				}
			})
		})
	}
}

// A request whose caller hung up leaves nothing behind, wherever it stood in the queue.
func TestTheQueueForgetsCanceledRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &visitors{queue: newPublishQueue(10, awaitSignal)}
		first, hangUpFirst := context.WithCancel(t.Context())
		second, hangUpSecond := context.WithCancel(t.Context())
		go v.visit(first, volumeNamed("v"), "first", make(chan struct{}))
		synctest.Wait()
		go v.visit(second, volumeNamed("v"), "second", nil)
		synctest.Wait()
		go v.visit(t.Context(), volumeNamed("v"), "third", nil)
		synctest.Wait()
		hangUpSecond()
		v.want(t, "second turned away")
		hangUpFirst()
		v.want(t, "second turned away", "first gave up", "third passed")
		// One hangs up behind another whose turn has come after it had waited.
		fourth, fifth := make(chan struct{}), make(chan struct{})
		last, hangUpLast := context.WithCancel(t.Context())
		go v.visit(t.Context(), volumeNamed("v"), "fourth", fourth)
		synctest.Wait()
		go v.visit(t.Context(), volumeNamed("v"), "fifth", fifth)
		synctest.Wait()
		go v.visit(last, volumeNamed("v"), "last", nil)
		synctest.Wait()
		close(fourth)
		synctest.Wait()
		hangUpLast()
		synctest.Wait()
		close(fifth)
		v.want(t, "second turned away", "first gave up", "third passed", "fourth passed", "last turned away", "fifth passed")
	})
}

// A conflict that is about to resolve is waited for inside the call, and the wait ends with the event.
func TestPublishWaitsUntilTheHolderHasLeft(t *testing.T) {
	w := newControllerWorld(t)
	volume := w.create(t)
	w.mustPublish(t, volume, nodeA)
	w.setHolder(nodeA, attach.HolderDetaching, time.Now().Add(-time.Hour))
	w.nodes.changed = make(chan struct{})
	waiting := w.restartWaiting(t)
	published := make(chan error, 1)
	go func() {
		_, err := w.publish(t, volume, nodeB)
		published <- err
	}()
	<-waiting
	if err := w.unpublish(t, volume, nodeA); err != nil {
		t.Errorf("the detach that is waited for is blocked: %v", err)
	}
	close(w.nodes.changed)
	if err := <-published; err != nil {
		t.Errorf("got %v, want the volume once its holder has left", err)
	}
}

// The detach that a publish would wait for may be under way when it comes: it keeps its place, and the detach isn't
// disturbed.
func TestPublishWaitsForTheOperationThatHasTheVolume(t *testing.T) {
	w := newControllerWorld(t)
	volume := w.create(t)
	waiting := w.restartWaiting(t)
	unlock, err := w.locks.Lock(parsed(t, volume))
	if err != nil {
		t.Fatal(err)
	}
	published := make(chan error, 1)
	go func() {
		_, err := w.publish(t, volume, nodeB)
		published <- err
	}()
	select {
	case <-waiting:
	case err := <-published:
		t.Fatalf("it didn't wait: %v", err)
	}
	unlock()
	if err := <-published; err != nil {
		t.Errorf("got %v, want the volume once it is free", err)
	}
}

func TestPublishGivesUpOnAnOperationThatDoesNotEnd(t *testing.T) {
	w := newControllerWorld(t)
	volume := w.create(t)
	if _, err := w.locks.Lock(parsed(t, volume)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.publish(t, volume, nodeB); failure.Code(err) != codes.Aborted {
		t.Errorf("got %v, want ABORTED", err)
	}
	w.queue.mu.Lock()
	defer w.queue.mu.Unlock()
	if len(w.queue.tickets) != 0 || w.queue.waiting != 0 {
		t.Errorf("it left %d queues and %d waiting", len(w.queue.tickets), w.queue.waiting)
	}
}

func TestPublishDoesNotWaitForAHolderThatStays(t *testing.T) {
	w := newControllerWorld(t)
	w.await = func(context.Context, <-chan struct{}) error { return errors.New("waited for nothing") }
	w.restart(t)
	volume := w.create(t)
	w.mustPublish(t, volume, nodeA)
	w.setHolder(nodeA, attach.HolderAttached, time.Time{})
	if _, err := w.publish(t, volume, nodeB); err == nil || strings.Contains(err.Error(), "waited for nothing") {
		t.Errorf("got %v, want a conflict at once", err)
	}
}
