package attach

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func (f *fakeAppliance) change(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *fakeAppliance) refreshes() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.refreshed
}

// runOn starts a reconciler with an hour between resyncs, and returns it.
func runOn(t *testing.T, cluster Cluster, appliance Appliance) *Reconciler {
	t.Helper()
	r, _ := reconcilerOf(t, cluster, appliance)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	synctest.Wait()
	return r
}

func TestRecordsAreReadAtStartAndWhenAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		appliance := &fakeAppliance{}
		r := runOn(t, clusterWith(attachmentOnA()), appliance)
		advance(time.Minute)
		if got := appliance.refreshes(); got != 1 {
			t.Errorf("after the start: read %d times, want once", got)
		}
		for range 5 {
			r.Resync()
		}
		advance(time.Second)
		if got := appliance.refreshes() - 1; got < 1 || got > 2 {
			t.Errorf("asked five times at once: read %d times, want once or twice", got)
		}
	})
}

// An appliance that is away is asked again until it is back, and stale attachments don't wait for it.
func TestRefreshIsRetriedUntilTheApplianceIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		appliance, cluster := &fakeAppliance{failed: errors.New("connection refused")}, clusterWith(attachmentOnA())
		runOn(t, cluster, appliance)
		if cluster.deletions() != 1 {
			t.Error("a stale attachment waited for the appliance")
		}
		advance(time.Minute)
		tries := appliance.refreshes()
		if want := int(time.Minute / refreshRetry); tries < want || tries > want+1 {
			t.Errorf("tried %d times in a minute", tries)
		}
		appliance.change(func() { appliance.failed = nil })
		advance(refreshRetry)
		tries = appliance.refreshes()
		advance(10 * time.Minute)
		if again := appliance.refreshes() - tries; again != 0 {
			t.Errorf("read %d times more though it is back", again)
		}
	})
}

// A volume that went back in time while nobody asked for it is restored as soon as its record was read.
func TestAVolumeThatWentBackIsFoundByTheRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := clusterWith(grantedOnA())
		cluster.cachedNodes["a"] = Node{Name: "a", Machine: "machine-a"}
		valid, old := recordOf("nqn-7", 7, nodeA()), recordOf("nqn-5", 5, nodeB())
		appliance := &fakeAppliance{seen: valid, record: valid}
		r := runOn(t, cluster, appliance)
		advance(refreshRetry)
		appliance.change(func() { appliance.seen, appliance.record = old, old })
		r.Resync()
		synctest.Wait()
		appliance.change(func() {
			if len(appliance.restored) == 0 {
				t.Error("not restored")
			}
		})
	})
}

// An appliance that is away must not have attachments looked at more often than their back-off and the resync do: each look
// is a question to the API server.
func TestAFailingRefreshLeavesTheBackOffAlone(t *testing.T) {
	looks := func(failed error) int {
		var count int
		synctest.Test(t, func(t *testing.T) {
			cluster := clusterWith(attachmentOnA())
			cluster.liveErr = errors.New("no answer")
			runOn(t, cluster, &fakeAppliance{failed: failed})
			advance(9 * time.Minute)
			cluster.mu.Lock()
			defer cluster.mu.Unlock()
			count = cluster.asked
		})
		return count
	}
	if well, away := looks(nil), looks(errors.New("connection refused")); away > well {
		t.Errorf("asked for the node %d times while the appliance was away, and %d times otherwise", away, well)
	}
}

// A Refresh that ends the connection to the appliance, as one that takes too long does, asks for the next one.
func TestARefreshDoesNotBringAboutTheNextAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		appliance := &fakeAppliance{}
		r := runOn(t, clusterWith(attachmentOnA()), appliance)
		appliance.change(func() { appliance.onRefresh = r.Resync })
		r.Resync()
		advance(10 * time.Minute)
		if got, most := appliance.refreshes(), 1+int(10*time.Minute/refreshRetry); got > most {
			t.Errorf("read %d times in ten minutes, want at most %d", got, most)
		}
	})
}

// An appliance that is away for long doesn't keep the resync from finding what no event reported.
func TestAResyncComesAlthoughTheApplianceIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := clusterWith(attachmentOnA())
		cluster.cachedNodes["a"] = Node{Name: "a", Machine: "machine-a"}
		runOn(t, cluster, &fakeAppliance{failed: errors.New("connection refused")})
		cluster.change(func() { clear(cluster.cachedNodes) })
		advance(testConfig().Resync - time.Second)
		if cluster.deletions() != 0 {
			t.Fatal("cleared before the resync, though there was no event")
		}
		advance(time.Second + refreshRetry)
		if cluster.deletions() != 1 {
			t.Error("not cleared by the resync")
		}
	})
}
