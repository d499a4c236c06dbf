package csi

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
)

// visitors pass the door, and note how they fared.
type visitors struct {
	door *door
	mu   sync.Mutex
	log  []string
}

func (v *visitors) note(text string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.log = append(v.log, text)
}

// visit enters for a volume, waits there for signal unless it is nil, and leaves.
func (v *visitors) visit(ctx context.Context, volume, name string, signal <-chan struct{}) {
	place, err := v.door.enter(ctx, volume)
	if err != nil {
		v.note(name + " turned away")
		return
	}
	defer place.leave()
	if signal != nil {
		if err := place.wait(ctx, signal); err != nil {
			v.note(name + " gave up")
			return
		}
	}
	v.note(name + " passed")
}

func (v *visitors) want(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	v.mu.Lock()
	defer v.mu.Unlock()
	if !slices.Equal(v.log, want) {
		t.Errorf("got %q, want %q", v.log, want)
	}
	v.door.mu.Lock()
	defer v.door.mu.Unlock()
	if len(v.door.queues) == 0 && v.door.held != 0 {
		t.Errorf("%d are counted as held though nobody is there", v.door.held)
	}
}

func TestTheDoorServesInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &visitors{door: newDoor(10, awaitSignal)}
		signal := make(chan struct{})
		go v.visit(t.Context(), "v", "first", signal)
		var want []string
		for i := range 5 {
			synctest.Wait()
			go v.visit(t.Context(), "v", strconv.Itoa(i), nil)
			want = append(want, fmt.Sprint(i, " passed"))
		}
		go v.visit(t.Context(), "w", "of another volume", nil)
		v.want(t, "of another volume passed")
		close(signal)
		v.want(t, append([]string{"of another volume passed", "first passed"}, want...)...)
	})
}

func TestTheDoorIsBoundedInNumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &visitors{door: newDoor(2, awaitSignal)}
		signals := map[string]chan struct{}{}
		for _, volume := range []string{"u", "v", "w"} {
			signals[volume] = make(chan struct{})
			go v.visit(t.Context(), volume, volume, signals[volume])
			synctest.Wait()
		}
		go v.visit(t.Context(), "u", "second of u", nil)
		v.want(t, "w gave up", "second of u turned away")
		close(signals["u"])
		v.want(t, "w gave up", "second of u turned away", "u passed")
		go v.visit(t.Context(), "u", "later", signals["v"])
		synctest.Wait()
		close(signals["v"])
		synctest.Wait()
		if len(v.log) != 5 {
			t.Errorf("got %q, want both to have passed", v.log)
		}
		v.want(t, v.log...)
	})
}

func TestTheDoorIsBoundedInTime(t *testing.T) {
	for name, test := range map[string]struct{ deadline, waited time.Duration }{
		"deadline of the call": {15 * time.Second, 15*time.Second - holdMargin},
		"no deadline":          {0, holdLongest},
		"too short to wait":    {time.Second, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := &visitors{door: newDoor(1, awaitSignal)}
				ctx, start := t.Context(), time.Now()
				if test.deadline > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, test.deadline)
					defer cancel()
				}
				v.visit(ctx, "v", "x", make(chan struct{}))
				v.want(t, "x gave up")
				if waited := time.Since(start); waited != test.waited {
					t.Errorf("waited %s, want %s", waited, test.waited)
				}
			})
		})
	}
}

// A request whose caller hung up leaves nothing behind, wherever it stood in the queue.
func TestTheDoorForgetsWhoHungUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &visitors{door: newDoor(10, awaitSignal)}
		first, hangUpFirst := context.WithCancel(t.Context())
		second, hangUpSecond := context.WithCancel(t.Context())
		go v.visit(first, "v", "first", make(chan struct{}))
		synctest.Wait()
		go v.visit(second, "v", "second", nil)
		synctest.Wait()
		go v.visit(t.Context(), "v", "third", nil)
		synctest.Wait()
		hangUpSecond()
		v.want(t, "second turned away")
		hangUpFirst()
		v.want(t, "second turned away", "first gave up", "third passed")
	})
}

// A conflict that is about to resolve is waited for inside the call, and the wait ends with the event.
func TestPublishIsHeldUntilTheHolderHasLeft(t *testing.T) {
	w := newControllerWorld(t)
	volume := w.create(t)
	w.mustPublish(t, volume, nodeA)
	w.standing(nodeA, attach.StandingDetaching, time.Now().Add(-time.Hour))
	w.nodes.changed = make(chan struct{})
	waiting := make(chan struct{})
	w.await = func(ctx context.Context, signal <-chan struct{}) error {
		close(waiting)
		return awaitSignal(ctx, signal)
	}
	w.restart(t)
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

// The detach that a publish would wait for may be under way when it comes: it keeps its place, and the detach isn't disturbed.
func TestPublishWaitsForTheOperationThatHasTheVolume(t *testing.T) {
	w := newControllerWorld(t)
	volume := w.create(t)
	waiting := make(chan struct{})
	w.await = func(ctx context.Context, signal <-chan struct{}) error {
		close(waiting)
		return awaitSignal(ctx, signal)
	}
	w.restart(t)
	unlock, err := w.locks.lock(volume)
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
	if _, err := w.locks.lock(volume); err != nil {
		t.Fatal(err)
	}
	if _, err := w.publish(t, volume, nodeB); codeOf(err) != codes.Aborted {
		t.Errorf("got %v, want ABORTED", err)
	}
	w.door.mu.Lock()
	defer w.door.mu.Unlock()
	if len(w.door.queues) != 0 || w.door.held != 0 {
		t.Errorf("it left %d queues and %d held", len(w.door.queues), w.door.held)
	}
}

func TestPublishIsNotHeldForAHolderThatStays(t *testing.T) {
	w := newControllerWorld(t)
	w.await = func(context.Context, <-chan struct{}) error { return errors.New("held for nothing") }
	w.restart(t)
	volume := w.create(t)
	w.mustPublish(t, volume, nodeA)
	w.standing(nodeA, attach.StandingAttached, time.Time{})
	if _, err := w.publish(t, volume, nodeB); err == nil || strings.Contains(err.Error(), "held for nothing") {
		t.Errorf("got %v, want a conflict at once", err)
	}
}
