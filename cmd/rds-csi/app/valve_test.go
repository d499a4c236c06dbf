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
func massDeletion(t *testing.T, observed *metrics.Metrics) float64 {
	t.Helper()
	return gauge(t, observed, "rds_csi_mass_deletion_held")
}

func gauge(t *testing.T, observed *metrics.Metrics, name string) float64 {
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

// Before it has seen everything nothing is cleared, which isn't because nodes vanished. Somebody must hear of it.
func TestABeginThatDoesNotComeIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster, err := informers.New(fake.NewClientset(), csi.DriverName)
		if err != nil {
			t.Fatal(err)
		}
		observed := metrics.New()
		notes := make(chan attach.Note, 10)
		valve, err := newMassDeletionValve(attach.ValveConfig{Nodes: 3, Share: 0.3, Window: 10 * time.Minute}, cluster, observed, func(note attach.Note) { notes <- note })
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		defer running.Wait()
		defer cancel()
		running.Go(func() { _ = cluster.Run(ctx) })
		running.Go(func() { _ = valve.Run(ctx) })
		synctest.Wait()
		if gauge(t, observed, "rds_csi_clearing_not_begun") != 1 || massDeletion(t, observed) != 0 || len(notes) != 0 {
			t.Errorf("at the start: %d notes, want the metric alone", len(notes))
		}
		<-time.After(10 * beginPatience)
		synctest.Wait()
		if n := len(notes); n != 1 || (<-notes).Reason != attach.ClearingNotBegun {
			t.Errorf("after a while: %d notes, want one ClearingNotBegun", n)
		}
		valve.begin(ctx, nil)
		synctest.Wait()
		if gauge(t, observed, "rds_csi_clearing_not_begun") != 0 {
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
				client := fake.NewClientset(
					&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-a"}}, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-b"}},
					&storagev1.VolumeAttachment{ObjectMeta: metav1.ObjectMeta{Name: "va"}, Spec: storagev1.VolumeAttachmentSpec{Attacher: csi.DriverName, NodeName: "node-x"}})
				cluster, err := informers.New(client, csi.DriverName)
				if err != nil {
					t.Fatal(err)
				}
				observed := metrics.New()
				var notes []attach.Note
				valve, err := newMassDeletionValve(attach.ValveConfig{Nodes: 3, Share: 0.3, Window: 10 * time.Minute}, cluster, observed, func(note attach.Note) { notes = append(notes, note) })
				if err != nil {
					t.Fatal(err)
				}
				var resumed atomic.Int64
				valve.resumed = func() { resumed.Add(1) }
				ctx, cancel := context.WithCancel(t.Context())
				var running sync.WaitGroup
				defer running.Wait()
				defer cancel()
				running.Go(func() { _ = cluster.Run(ctx) })
				running.Go(func() { _ = valve.Run(ctx) })
				synctest.Wait()
				if !valve.Paused() {
					t.Error("not paused before it knows what is named")
				}
				valve.begin(ctx, test.disks)
				want := map[bool]float64{true: 1}[test.paused]
				if valve.Paused() != test.paused || massDeletion(t, observed) != want || len(notes) != int(want) || resumed.Load() != 1 {
					t.Errorf("paused %t, metric %g, notes %+v, resumed %d; want paused %t", valve.Paused(), massDeletion(t, observed), notes, resumed.Load(), test.paused)
				}
				<-time.After(10 * time.Minute)
				synctest.Wait()
				if got := massDeletion(t, observed); got != 0 {
					t.Errorf("the metric after the window, though nobody asked the valve: got %g, want 0", got)
				}
				if wanted := 1 + int64(want); resumed.Load() != wanted {
					t.Errorf("after the window: resumed %d times, want %d", resumed.Load(), wanted)
				}
			})
		})
	}
}

// Nodes that come back open the valve before its time: whatever was paused goes on at once.
func TestAValveThatOpensEarlyResumesAtOnce(t *testing.T) {
	cluster, err := informers.New(fake.NewClientset(), csi.DriverName)
	if err != nil {
		t.Fatal(err)
	}
	observed := metrics.New()
	valve, err := newMassDeletionValve(attach.ValveConfig{Nodes: 1, Share: 0.3, Window: time.Hour}, cluster, observed, func(attach.Note) {})
	if err != nil {
		t.Fatal(err)
	}
	resumed := 0
	valve.resumed = func() { resumed++ }
	valve.Begin([]string{"node-a"})
	if !valve.Paused() || resumed != 0 {
		t.Fatalf("a node is missing: paused %t, resumed %d", valve.Paused(), resumed)
	}
	valve.Appeared("node-a")
	if valve.Paused() || resumed != 1 || massDeletion(t, observed) != 0 {
		t.Errorf("it is back: paused %t, resumed %d times, want once", valve.Paused(), resumed)
	}
}
