package nvme

import (
	"maps"
	"slices"
	"strings"
	"sync"
)

// pendingConnects counts the connects that the kernel hasn't answered yet, by the subsystem's NQN. sysfs doesn't show
// them: a controller appears below its subsystem only once the target has answered, and has no NQN until then.
type pendingConnects struct {
	mu     sync.Mutex
	counts map[string]int
}

// begin counts one connect, and returns the function that must be called at its end.
func (p *pendingConnects) begin(nqn string) (end func()) {
	p.add(nqn, 1)
	return func() { p.add(nqn, -1) }
}

func (p *pendingConnects) add(nqn string, change int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.counts[nqn] += change; p.counts[nqn] == 0 {
		delete(p.counts, nqn)
	}
}

// withPrefix returns the NQNs of pending connects that begin with the prefix.
func (p *pendingConnects) withPrefix(prefix string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	nqns := slices.Collect(maps.Keys(p.counts))
	return slices.DeleteFunc(nqns, func(nqn string) bool { return !strings.HasPrefix(nqn, prefix) })
}
