package restart

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"

	"k8s.io/klog/v2"
)

// model is a workload whose controller, kubelets, cache and API server do what they may in any order.
type model struct {
	*world
	random *rand.Rand
	size   int
	share  float64
	// holdsPlaces: as a StatefulSet's and a DaemonSet's, the controller replaces a pod only when it is gone.
	holdsPlaces bool
	history     [][]Pod
	seen, made  int
}

func newModel(seed uint64) *model {
	random := rand.New(rand.NewPCG(seed, 5))
	m := &model{world: worldOf(), random: random, size: 1 + random.IntN(9), share: []float64{0.01, 0.25, 0.34, 0.5, 1}[random.IntN(5)], holdsPlaces: random.IntN(2) == 0}
	for range m.size {
		m.create(func(*Pod) {})
	}
	m.sync()
	m.history = [][]Pod{slices.Clone(m.pods)}
	return m
}

func (m *model) create(change func(*Pod)) {
	m.made++
	m.change(fmt.Sprint("pod-", m.made), change)
}

// serving is how many pods neither end nor begin. A lost one counts until it is deleted.
func (m *model) serving() int {
	serving := 0
	for _, pod := range m.pods {
		if _, lost := pod.lost(); !pod.Terminating && (pod.Ready || lost) {
			serving++
		}
	}
	return serving
}

// places is how many pods the controller counts as its own.
func (m *model) places() int {
	places := 0
	for _, pod := range m.pods {
		if !pod.Terminating || m.holdsPlaces {
			places++
		}
	}
	return places
}

// any returns the index of a random pod for which holds, or -1.
func (m *model) any(holds func(Pod) bool) int {
	var found []int
	for i, pod := range m.pods {
		if holds(pod) {
			found = append(found, i)
		}
	}
	if len(found) == 0 {
		return -1
	}
	return found[m.random.IntN(len(found))]
}

// act has somebody but the reconciler do one thing.
func (m *model) act(what int) {
	ready := func(pod Pod) bool { return pod.Ready && !pod.Terminating }
	switch what {
	case 0: // a device is lost; its pod may go on to be Ready
		if i := m.any(ready); i >= 0 && m.random.IntN(3) == 0 {
			m.set(i, lost, func(p *Pod) { p.Ready = m.random.IntN(2) == 0 })
		}
	case 1: // the controller
		if m.places() < m.size {
			m.create(unmounted)
		}
	case 2: // kubelet ends a pod
		if i := m.any(func(pod Pod) bool { return pod.Terminating }); i >= 0 {
			m.remove(m.pods[i].Name)
		}
	case 3: // kubelet starts a pod
		if i := m.any(func(pod Pod) bool { return !pod.Mounted && !pod.Terminating }); i >= 0 {
			m.set(i, func(p *Pod) { p.Mounted, p.Ready = true, true })
		}
	case 4: // a pod changes in a way that doesn't matter
		if i := m.any(ready); i >= 0 {
			m.set(i)
		}
	}
	m.history = append(m.history, slices.Clone(m.pods))
}

// watch moves the cache on, but perhaps not to the present.
func (m *model) watch() {
	m.seen += m.random.IntN(len(m.history) - m.seen)
	m.cached = m.history[m.seen]
}

// Whatever the order of events, and however far the cache is behind: no more pods than the share, or one, are restarted
// at a time; and in the end no pod is lost.
func TestNoOrderOfEventsExceedsTheShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		deletions, ctx := 0, klog.NewContext(t.Context(), klog.Logger{})
		for seed := range uint64(1000) {
			m := newModel(seed)
			r, _ := reconcilerOf(t, Config{Enabled: true, Share: m.share, Resync: 1, Workers: 1}, m)
			workload := m.pods[0].Workload()
			for range 80 {
				m.act(m.random.IntN(5))
				m.watch()
				m.deleteErr, m.happens = nil, false
				if m.random.IntN(4) == 0 {
					m.deleteErr, m.happens = errors.New("timed out"), m.random.IntN(2) == 0
				}
				before := len(m.deleted)
				_, _ = r.work(ctx, workload)
				m.history = append(m.history, slices.Clone(m.pods))
				away := m.size - m.serving()
				if len(m.deleted) > before && away > max(1, int(m.share*float64(m.size)+rounding)) {
					t.Fatalf("seed %d: %d of %d away after %v was deleted, of which the share is %g:\n%+v", seed, away, m.size, m.deleted[before:], m.share, m.pods)
				}
			}
			m.deleteErr = nil
			for range 4*m.size + 4 {
				m.act(1)
				m.act(2)
				m.act(3)
				m.sync()
				_, _ = r.work(ctx, workload)
			}
			if i := m.any(func(pod Pod) bool { _, lost := pod.lost(); return lost }); i >= 0 {
				t.Fatalf("seed %d: left at rest, a pod stays lost:\n%+v\ndeleted: %v", seed, m.pods, m.deleted)
			}
			deletions += len(m.deleted)
		}
		t.Logf("%d deletions", deletions)
	})
}
