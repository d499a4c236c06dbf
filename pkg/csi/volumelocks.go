package csi

import (
	"fmt"
	"sync"
)

// volumeLocks admits one operation per volume at a time. The zero value is ready for use.
type volumeLocks struct {
	mu   sync.Mutex
	held map[string]struct{}
}

// lock returns the function that unlocks the volume again, or errBusy; it never waits.
func (l *volumeLocks) lock(volumeID string) (unlock func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, busy := l.held[volumeID]; busy {
		return nil, fmt.Errorf("volume %s: %w", volumeID, errBusy)
	}
	if l.held == nil {
		l.held = map[string]struct{}{}
	}
	l.held[volumeID] = struct{}{}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.held, volumeID)
	}, nil
}
