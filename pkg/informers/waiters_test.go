package informers

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestAwaitAttachment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := startController(t, node("node-a", "machine-a"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		found := make(chan bool, 1)
		go func() { _, ok := c.cluster.AwaitAttachment(ctx, "late"); found <- ok }()
		settle()
		if _, err := c.client.StorageV1().VolumeAttachments().Create(t.Context(), attachment("late", driver, "node-a"), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		select {
		case ok := <-found:
			if !ok {
				t.Error("woken, but not found")
			}
		default:
			t.Error("not woken by the attachment's event")
		}
		if _, ok := c.cluster.AwaitAttachment(ctx, "never"); ok {
			t.Error("found an attachment that doesn't exist")
		}
		synctest.Wait() // a signal is dropped after its context has ended
		if n := len(c.cluster.waiters.byKey); n != 0 {
			t.Errorf("%d waiters are left, want none", n)
		}
	})
}

// Whoever asks for a signal may never wait for it.
func TestASignalThatNobodyWaitsForIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWaiters()
		first, endFirst := context.WithCancel(t.Context())
		second, endSecond := context.WithCancel(t.Context())
		if w.signal(first, "x") != w.signal(second, "x") {
			t.Error("two signals for one key")
		}
		endFirst()
		synctest.Wait()
		if len(w.byKey) != 1 {
			t.Errorf("%d signals, want the one that somebody may still wait for", len(w.byKey))
		}
		w.wake("x")
		later := w.signal(t.Context(), "x")
		endSecond()
		synctest.Wait()
		if len(w.byKey) != 1 {
			t.Errorf("%d signals, want the later one", len(w.byKey))
		}
		w.wake("x")
		<-later
		if len(w.byKey) != 0 {
			t.Errorf("%d signals are left", len(w.byKey))
		}
	})
}

// A request that waits for a holder is woken by whatever may end the holder's hold: also when its node is gone and nothing
// happened to the attachment, since a pod on the node keeps the attachment from being cleared.
func TestWhatWakesARequestThatWaitsForAVolume(t *testing.T) {
	tests := map[string]struct {
		change func(*controller) error
		want   bool
	}{
		"node deleted": {func(c *controller) error {
			return c.client.CoreV1().Nodes().Delete(t.Context(), "node-a", metav1.DeleteOptions{})
		}, true},
		"node replaced": {func(c *controller) error {
			_, err := c.client.CoreV1().Nodes().Update(t.Context(), node("node-a", "machine-new"), metav1.UpdateOptions{})
			return err
		}, true},
		"another node deleted": {func(c *controller) error {
			return c.client.CoreV1().Nodes().Delete(t.Context(), "node-b", metav1.DeleteOptions{})
		}, false},
		"attachment created": {func(c *controller) error {
			_, err := c.client.StorageV1().VolumeAttachments().Create(t.Context(), attachment("second", driver, "node-b"), metav1.CreateOptions{})
			return err
		}, true},
		"attachment updated": {func(c *controller) error {
			detached := attachment("held", driver, "node-a")
			detached.Status.Attached = false
			_, err := c.client.StorageV1().VolumeAttachments().Update(t.Context(), detached, metav1.UpdateOptions{})
			return err
		}, true},
		"attachment deleted": {func(c *controller) error {
			return c.client.StorageV1().VolumeAttachments().Delete(t.Context(), "held", metav1.DeleteOptions{})
		}, true},
		"another driver's attachment created": {func(c *controller) error {
			_, err := c.client.StorageV1().VolumeAttachments().Create(t.Context(), attachment("foreign", "other.example", "node-a"), metav1.CreateOptions{})
			return err
		}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := startController(t, node("node-a", "machine-a"), node("node-b", "machine-b"), volume(), pod("user"), attachment("held", driver, "node-a"))
				settle()
				changed := c.cluster.AttachmentsChanged(t.Context(), "raid10/rds-csi/x")
				if err := test.change(c); err != nil {
					t.Fatal(err)
				}
				settle()
				woken := false
				select {
				case <-changed:
					woken = true
				default:
				}
				if woken != test.want {
					t.Errorf("woken: %t, want %t", woken, test.want)
				}
			})
		})
	}
}
