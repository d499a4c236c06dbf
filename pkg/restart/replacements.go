package restart

import (
	"slices"
	"sync"
	"time"
)

// replacedWithin is how long a deleted pod without a replacement counts as being restarted. A workload that was scaled
// down meanwhile gets none, and must not wait for it forever.
const replacedWithin = 10 * time.Minute

// replacements are the pods that were deleted and aren't replaced yet, of every workload. Pods alone don't show them: a
// controller may create the next pod long after the last one is gone, and a cache may not show yet that one is being
// deleted. It is safe for concurrent use.
type replacements struct {
	mu         sync.Mutex
	byWorkload map[string]*outstanding
}

// outstanding are the deletions of one workload.
type outstanding struct {
	// deleted has the UIDs of the pods, with the times of their deletions.
	deleted map[string]time.Time
	// known has the UIDs of all pods but those that may still be a replacement.
	known map[string]bool
}

func newReplacements() *replacements { return &replacements{byWorkload: map[string]*outstanding{}} }

// begin notes that a pod is about to be deleted. pods are all of its workload.
func (r *replacements) begin(pod Pod, pods []Pod) {
	r.mu.Lock()
	defer r.mu.Unlock()
	o := r.byWorkload[pod.Workload()]
	if o == nil {
		o = &outstanding{deleted: map[string]time.Time{}, known: map[string]bool{}}
		r.byWorkload[pod.Workload()] = o
	}
	o.deleted[pod.UID] = time.Now()
	o.known[pod.UID] = true
	for _, other := range pods {
		o.known[other.UID] = true
	}
}

// forget notes that a pod wasn't deleted after all.
func (r *replacements) forget(pod Pod) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if o := r.byWorkload[pod.Workload()]; o != nil {
		delete(o.deleted, pod.UID)
	}
}

// seen takes in what the cache has of a workload. It returns the same pods, with those Terminating that were deleted and
// don't show it yet, and how many are missing: gone, and not replaced.
func (r *replacements) seen(workload string, cached []Pod) (pods []Pod, missing int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	pods = slices.Clone(cached)
	o := r.byWorkload[workload]
	if o == nil {
		return pods, 0
	}
	for uid, at := range o.deleted {
		if time.Since(at) >= replacedWithin {
			delete(o.deleted, uid)
		}
	}
	o.pair(pods)
	missing = len(o.deleted)
	for i := range pods {
		if _, deleted := o.deleted[pods[i].UID]; deleted {
			pods[i].Terminating = true
			missing--
		}
	}
	if len(o.deleted) == 0 {
		delete(r.byWorkload, workload)
	}
	return pods, missing
}

// pair takes each new pod for the replacement of one that is gone, or else of one that shows that it is being deleted. A
// controller creates the replacement after that, so another new pod has nothing to do with the deletions.
func (o *outstanding) pair(pods []Pod) {
	shown := map[string]Pod{}
	for _, pod := range pods {
		shown[pod.UID] = pod
	}
	for _, pod := range pods {
		if o.known[pod.UID] || pod.Terminating {
			continue
		}
		o.known[pod.UID] = true
		delete(o.deleted, o.replaceable(shown))
	}
}

// replaceable returns the UID of a deleted pod that may have been replaced, or "".
func (o *outstanding) replaceable(shown map[string]Pod) string {
	terminating := ""
	for uid := range o.deleted {
		switch pod, found := shown[uid]; {
		case !found:
			return uid
		case pod.Terminating:
			terminating = uid
		}
	}
	return terminating
}
