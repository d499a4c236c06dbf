package nvme

import (
	"strings"
	"sync"
)

// dials are the connections that the kernel was asked for and hasn't answered yet. sysfs shows a controller below its
// subsystem only once the target has said who it is, and until then gives no NQN by which to tell whose it is. So who must know
// of such connections asks here. The zero value is ready for use.
type dials struct {
	mu  sync.Mutex
	nqn map[string]int
}

// begin notes one and returns the function that notes its end.
func (d *dials) begin(nqn string) (end func()) {
	d.add(nqn, 1)
	return func() { d.add(nqn, -1) }
}

func (d *dials) add(nqn string, change int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.nqn == nil {
		d.nqn = map[string]int{}
	}
	if d.nqn[nqn] += change; d.nqn[nqn] == 0 {
		delete(d.nqn, nqn)
	}
}

// underWay lists the NQNs that begin with the prefix.
func (d *dials) underWay(prefix string) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var found []string
	for nqn := range d.nqn {
		if strings.HasPrefix(nqn, prefix) {
			found = append(found, nqn)
		}
	}
	return found
}
