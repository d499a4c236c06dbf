package restart

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
)

// world is a cluster whose controllers, kubelets and watches do nothing by themselves: the test has them act.
type world struct {
	mu sync.Mutex
	// pods are those that the API server has. cached are those that the cache has, which may be behind.
	pods, cached []Pod
	version      int
	// live, unless nil, replaces the API server's answer about a pod. deleteErr, unless nil, fails a deletion: before it
	// happens, or after it with happens.
	live      func(Pod) (Pod, error)
	deleteErr error
	happens   bool
	gets      int
	deleted   []string
}

func worldOf(pods ...Pod) *world { return &world{pods: pods, cached: slices.Clone(pods)} }

func (w *world) WaitForSync(context.Context) error { return nil }

func (w *world) CachedWorkloads() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var workloads []string
	for _, pod := range w.cached {
		if len(pod.Reports) > 0 && !slices.Contains(workloads, pod.Workload()) {
			workloads = append(workloads, pod.Workload())
		}
	}
	return workloads
}

func (w *world) CachedWorkload(workload string) []Pod {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(w.cached), func(pod Pod) bool { return pod.Workload() != workload })
}

func (w *world) LivePod(_ context.Context, namespace, name string) (Pod, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gets++
	i := slices.IndexFunc(w.pods, func(pod Pod) bool { return pod.Namespace == namespace && pod.Name == name })
	if i < 0 {
		return Pod{}, ErrGone
	}
	if w.live != nil {
		return w.live(w.pods[i])
	}
	return w.pods[i], nil
}

func (w *world) DeletePod(_ context.Context, pod Pod) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.deleteErr != nil && !w.happens {
		return w.deleteErr
	}
	i := slices.IndexFunc(w.pods, func(other Pod) bool { return other.Namespace == pod.Namespace && other.Name == pod.Name })
	switch {
	case i < 0:
		return ErrGone
	case w.pods[i].UID != pod.UID || w.pods[i].ResourceVersion != pod.ResourceVersion:
		return ErrChanged
	}
	w.deleted = append(w.deleted, pod.Name)
	w.set(i, terminating)
	return w.deleteErr
}

// set changes a pod. The caller holds mu.
func (w *world) set(i int, changes ...func(*Pod)) {
	w.version++
	w.pods[i] = but(w.pods[i], append(changes, func(p *Pod) { p.ResourceVersion = fmt.Sprint("v", w.version) })...)
}

// change changes the pod of that name, or adds it.
func (w *world) change(name string, changes ...func(*Pod)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := slices.IndexFunc(w.pods, func(pod Pod) bool { return pod.Name == name })
	if i < 0 {
		w.pods, i = append(w.pods, ofSet(name)), len(w.pods)
	}
	w.set(i, changes...)
}

// with changes how the API server answers.
func (w *world) with(change func(*world)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(w)
}

func (w *world) remove(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pods = slices.DeleteFunc(w.pods, func(pod Pod) bool { return pod.Name == name })
}

// sync brings the cache up to date.
func (w *world) sync() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cached = slices.Clone(w.pods)
}

func (w *world) deletions() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.deleted)
}

// observed is what a reconciler told its observer.
type observed struct {
	mu   sync.Mutex
	told told
}

type told struct {
	actions             []Action
	restarted, withheld []string
	notes               []Note
}

func (o *observed) with(add func(*told)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	add(&o.told)
}

// soFar returns what was told so far.
func (o *observed) soFar() told {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.told
}

func reconcilerOf(t *testing.T, config Config, cluster Cluster) (*Reconciler, *observed) {
	t.Helper()
	o := &observed{}
	r, err := NewReconciler(config, cluster, Observer{
		Done:      func(action Action) { o.with(func(t *told) { t.actions = append(t.actions, action) }) },
		Restarted: func(reason string) { o.with(func(t *told) { t.restarted = append(t.restarted, reason) }) },
		Withheld:  func(reason string) { o.with(func(t *told) { t.withheld = append(t.withheld, reason) }) },
		Note:      func(note Note) { o.with(func(t *told) { t.notes = append(t.notes, note) }) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return r, o
}
