package controller

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
)

func TestFenceDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, id := newFenceDelay(time.Second), volumeNamed("v")
		waited := func(ctx context.Context, want time.Duration) {
			t.Helper()
			start := time.Now()
			err := f.wait(ctx, id)
			if took := time.Since(start); took != want || (err == nil) != (ctx.Err() == nil) {
				t.Errorf("waited %s, %v, want %s", took, err, want)
			}
		}
		waited(t.Context(), 0)
		f.begin(id)
		if err := f.wait(t.Context(), volumeNamed("other")); err != nil {
			t.Errorf("another volume: %v", err)
		}
		short, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
		defer cancel()
		waited(short, 400*time.Millisecond)
		// Whoever asks again waits for the rest only, and then never again.
		waited(t.Context(), 600*time.Millisecond)
		waited(t.Context(), 0)
		if len(f.revoked) != 0 {
			t.Errorf("left behind: %v", f.revoked)
		}
		// A revocation during the wait isn't over with the earlier one.
		f.begin(id)
		go func() {
			<-time.After(300 * time.Millisecond)
			f.begin(id)
		}()
		waited(t.Context(), time.Second)
		waited(t.Context(), 300*time.Millisecond)
		f.begin(id)
		<-time.After(time.Minute)
		waited(t.Context(), 0)
		off := newFenceDelay(0)
		off.begin(id)
		if len(off.revoked) != 0 {
			t.Error("without a delay, revocations are kept for ever")
		}
	})
}

// Every way in which access is revoked, and every answer that lets another node in: none may come before the delay is over.
func TestAnswersAreHeldBackAfterARevocation(t *testing.T) {
	errHeldBack := errors.New("held back")
	newDelayed := func(t *testing.T) (*controllerWorld, string) {
		t.Helper()
		w := newControllerWorld(t)
		volume := w.create(t)
		w.mustPublish(t, volume, nodeA)
		w.fences.delay = time.Hour
		w.fences.sleep = func(context.Context, time.Duration) error { return errHeldBack }
		return w, volume
	}
	t.Run("unpublish, and the publish that comes next", func(t *testing.T) {
		w, volume := newDelayed(t)
		for range 2 { // a repeated request finds nothing to revoke, and waits all the same
			if err := w.unpublish(t, volume, nodeA); !errors.Is(err, errHeldBack) {
				t.Errorf("unpublish: got %v, want it held back", err)
			}
		}
		if _, err := w.publish(t, volume, nodeB); !errors.Is(err, errHeldBack) {
			t.Errorf("publish: got %v, want it held back", err)
		}
	})
	for name, state := range map[string]attach.HolderState{"take-over": attach.HolderGone, "hand-off": attach.HolderDetaching} {
		t.Run(name, func(t *testing.T) {
			w, volume := newDelayed(t)
			w.setHolder(nodeA, state, time.Now())
			for range 2 { // a repeated request finds the volume published, and waits all the same
				if _, err := w.publish(t, volume, nodeB); !errors.Is(err, errHeldBack) {
					t.Errorf("publish: got %v, want it held back", err)
				}
			}
		})
	}
	t.Run("a superseded export", func(t *testing.T) {
		w := wentBack(t)
		w.fences.delay = time.Hour
		w.fences.sleep = func(context.Context, time.Duration) error { return errHeldBack }
		if _, err := w.publish(t, w.volume, nodeB); !errors.Is(err, errHeldBack) {
			t.Errorf("publish: got %v, want it held back", err)
		}
	})
	t.Run("nobody was shut out", func(t *testing.T) {
		w, _ := newDelayed(t)
		if _, err := w.publish(t, w.createNamed(t, "pvc-2"), nodeB); err != nil {
			t.Errorf("publish: %v", err)
		}
	})
}

// Who leaves a shared volume whose other holder stays has its access still: no answer about that has to wait.
func TestALeaverWhoseAccessStaysIsNotHeldBack(t *testing.T) {
	w, volume, epoch := migrating(t)
	w.fences.delay = time.Hour
	w.fences.sleep = func(context.Context, time.Duration) error { return errors.New("held back") }
	if err := w.unpublish(t, volume, nodeB); err != nil || w.reachable() != epoch.Target.SubsystemNQN {
		t.Errorf("got %v, exported %q", err, w.reachable())
	}
}
