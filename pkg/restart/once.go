package restart

import (
	"slices"
	"sync"
)

// once remembers what was said of which pods, so that nothing is said twice. It is safe for concurrent use.
type once struct {
	mu   sync.Mutex
	said map[string]map[[2]string]bool // by workload: UIDs and reasons
}

func newOnce() *once { return &once{said: map[string]map[[2]string]bool{}} }

// first reports whether nothing was said of the pod for this reason yet.
func (o *once) first(pod Pod, report Report) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	said := o.said[pod.Workload()]
	if said == nil {
		said = map[[2]string]bool{}
		o.said[pod.Workload()] = said
	}
	key := [2]string{pod.UID, report.Reason}
	if said[key] {
		return false
	}
	said[key] = true
	return true
}

// keep forgets what was said of all other workloads.
func (o *once) keep(workloads []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for workload := range o.said {
		if !slices.Contains(workloads, workload) {
			delete(o.said, workload)
		}
	}
}
