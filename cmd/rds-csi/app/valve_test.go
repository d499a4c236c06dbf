package app

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/informers"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/metrics"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

func heldBy(nodes ...string) rds.Disk {
	return rds.Disk{Record: rds.Record{Holding: rds.Holding{Holders: nodes}}}
}

// massDeletion is the value of rds_csi_mass_deletion_held.
func massDeletion(t *testing.T, observed *metrics.Controller) float64 {
	t.Helper()
	return gauge(t, observed, "rds_csi_mass_deletion_held")
}

func gauge(t *testing.T, observed *metrics.Controller, name string) float64 {
	t.Helper()
	families, err := observed.Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == name {
			return family.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// watched is a valve over a fake API server, and what it reported.
type watched struct {
	*massDeletionValve
	observed *metrics.Controller
	notes    chan attach.Note
	resumes  atomic.Int64
}

// newWatched returns a valve that a number of vanished nodes trips, which must be a third of all at least.
func newWatched(t *testing.T, nodes int, objects ...runtime.Object) *watched {
	t.Helper()
	cluster, err := informers.New(fake.NewClientset(objects...), csi.DriverName)
	if err != nil {
		t.Fatal(err)
	}
	w := &watched{observed: metrics.NewController(), notes: make(chan attach.Note, 10)}
	config := attach.ValveConfig{Nodes: nodes, Share: 0.3, Window: 10 * time.Minute}
	if w.massDeletionValve, err = newMassDeletionValve(config, cluster, w.observed, func(note attach.Note) { w.notes <- note }); err != nil {
		t.Fatal(err)
	}
	w.resumed = func() { w.resumes.Add(1) }
	return w
}

// run runs cluster and valve until the test ends.
func (w *watched) run(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = w.cluster.Run(ctx) })
	running.Go(func() { _ = w.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	synctest.Wait()
}

// Before it has seen everything nothing is cleared, which isn't because nodes vanished. Somebody must hear of it.
func TestABeginThatDoesNotComeIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		valve := newWatched(t, 3)
		// One who gives up waiting for the nodes hasn't seen them.
		gaveUp, giveUp := context.WithCancel(t.Context())
		giveUp()
		valve.begin(gaveUp, nil)
		if !valve.Paused() {
			t.Error("it has begun without the nodes")
		}
		valve.run(t)
		if gauge(t, valve.observed, "rds_csi_clearing_not_begun") != 1 || massDeletion(t, valve.observed) != 0 || len(valve.notes) != 0 {
			t.Errorf("at the start: %d notes, want the metric alone", len(valve.notes))
		}
		<-time.After(10 * beginPatience)
		synctest.Wait()
		if n := len(valve.notes); n != 1 || (<-valve.notes).Reason != attach.ClearingNotBegun {
			t.Errorf("after a while: %d notes, want one ClearingNotBegun", n)
		}
		valve.begin(t.Context(), nil)
		synctest.Wait()
		if gauge(t, valve.observed, "rds_csi_clearing_not_begun") != 0 {
			t.Error("the metric stays though clearing has begun")
		}
	})
}

// A controller that starts after a mass deletion sees no node vanish: what attachments and records name must tell it.
func TestClearingIsPausedForNodesThatAreMissingAtTheStart(t *testing.T) {
	tests := map[string]struct {
		disks  []rds.Disk
		paused bool
	}{
		"two by attachment and record": {[]rds.Disk{heldBy("node-a/machine-a", "node-y/machine-y"), heldBy("node-x/machine-x"), heldBy("no node ID")}, false},
		"three":                        {[]rds.Disk{heldBy("node-y/machine-y"), heldBy("node-z/machine-z")}, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				valve := newWatched(t, 3,
					&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-a"}}, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-b"}},
					&storagev1.VolumeAttachment{ObjectMeta: metav1.ObjectMeta{Name: "va"}, Spec: storagev1.VolumeAttachmentSpec{Attacher: csi.DriverName, NodeName: "node-x"}})
				valve.run(t)
				if !valve.Paused() {
					t.Error("not paused before it knows what is named")
				}
				valve.begin(t.Context(), test.disks)
				want := map[bool]float64{true: 1}[test.paused]
				if got := massDeletion(t, valve.observed); valve.Paused() != test.paused || got != want || len(valve.notes) != int(want) || valve.resumes.Load() != 1 {
					t.Errorf("paused %t, metric %g, %d notes, resumed %d times; want paused %t", valve.Paused(), got, len(valve.notes), valve.resumes.Load(), test.paused)
				}
				<-time.After(10 * time.Minute)
				synctest.Wait()
				if got := massDeletion(t, valve.observed); got != 0 {
					t.Errorf("the metric after the window, though nobody asked the valve: got %g, want 0", got)
				}
				if wanted := 1 + int64(want); valve.resumes.Load() != wanted {
					t.Errorf("after the window: resumed %d times, want %d", valve.resumes.Load(), wanted)
				}
			})
		})
	}
}

// Nodes that come back open the valve before its time: whatever was paused goes on at once.
func TestAValveThatOpensEarlyResumesAtOnce(t *testing.T) {
	valve := newWatched(t, 1)
	valve.Begin([]string{"node-a"})
	if resumes := valve.resumes.Load(); !valve.Paused() || resumes != 0 {
		t.Fatalf("a node is missing: paused %t, resumed %d", valve.Paused(), resumes)
	}
	valve.Appeared("node-a")
	if resumes := valve.resumes.Load(); valve.Paused() || resumes != 1 || massDeletion(t, valve.observed) != 0 {
		t.Errorf("it is back: paused %t, resumed %d times, want once", valve.Paused(), resumes)
	}
}
