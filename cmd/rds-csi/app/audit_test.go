package app

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/kubernetes/fake"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/informers"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/metrics"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim"
)

// await waits until something is so, or the test is out of time.
func await(t *testing.T, what string, so func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for !so() {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-deadline:
			t.Fatalf("in vain: %s", what)
		}
	}
}

// The whole controller, but for the API server: an orphan is counted, and removed if the flag says so.
func TestOrphansAreCountedAndRemovedIfToldTo(t *testing.T) {
	for flag, removed := range map[string]bool{"false": false, "true": true} {
		t.Run("remove-orphans="+flag, func(t *testing.T) {
			w := startWired(t, fake.NewClientset(), map[string]string{
				"attachment-reconcile-interval": "20ms", "orphan-grace-period": "50ms", "remove-orphans": flag,
			})
			w.create(t, "pvc-1")
			var looks atomic.Int32
			w.sim.SetFault(func(command string) sim.Fault {
				if strings.Contains(command, "mounted=yes") {
					looks.Add(1)
				}
				return sim.Fault{}
			})
			if removed {
				await(t, "the orphan is removed", func() bool { return len(w.sim.Disks()) == 0 })
				await(t, "no orphan is counted", w.counted("0"))
				return
			}
			await(t, "the orphan is counted", w.counted("1"))
			// An audit takes two looks: these are many times the grace.
			await(t, "the appliance is looked at", func() bool { return looks.Load() > 40 })
			if len(w.sim.Disks()) != 1 {
				t.Error("an orphan is gone though nobody said so")
			}
		})
	}
}

// stubbornAppliance lets a look at it end when it is released, and not when its ctx does.
type stubbornAppliance struct {
	attach.Appliance
	attach.AuditAppliance
	looking, release chan struct{}
}

func (*stubbornAppliance) Refresh(context.Context) error { return nil }

func (s *stubbornAppliance) Inventory(context.Context) (attach.Inventory, error) {
	close(s.looking)
	<-s.release
	return attach.Inventory{}, errors.New("too late")
}

// Once a leader has stopped another one begins: nothing of the first may go on.
func TestTheLeadersWorkStopsAsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster, err := informers.New(fake.NewClientset(), csi.DriverName)
		if err != nil {
			t.Fatal(err)
		}
		options, _ := parsed(t, nil)
		appliance := &stubbornAppliance{looking: make(chan struct{}), release: make(chan struct{})}
		observed, note := metrics.NewController(), func(attach.Note) {}
		reconciler, err := newReconciler(options, cluster, appliance, attach.Observer{
			Done: observed.ObserveReconcile, Note: note, PausedFor: func() time.Duration { return 0 },
			Unfinished: func(attach.Unfinished) {}, Phase: func(attach.Phase, time.Duration) {},
		})
		if err != nil {
			t.Fatal(err)
		}
		auditor, err := newAuditor(options, appliance, cluster, attach.AuditObserver{
			Count: observed.SetOrphans, Note: note, Paused: func() bool { return false },
		})
		if err != nil {
			t.Fatal(err)
		}
		work := newLeaderTasks(reconciler, auditor)
		work.Stop()
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		defer running.Wait()
		defer cancel()
		running.Go(func() { _ = cluster.Run(ctx) })
		done, stopped := make(chan error, 1), make(chan struct{})
		go func() { done <- work.Run(t.Context()) }()
		<-appliance.looking
		go func() { work.Stop(); close(stopped) }()
		synctest.Wait()
		select {
		case <-stopped:
			t.Error("stopped while the audit goes on")
		default:
		}
		close(appliance.release)
		<-stopped
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
