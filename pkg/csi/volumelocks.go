package csi

import (
	"fmt"
	"sync"
)

// volumeLocks admits one operation per volume at a time. The zero value is ready for use.
type volumeLocks struct {
	mu sync.Mutex
	// held has a channel for every volume that is locked, which is closed when it no longer is.
	held map[string]chan struct{}
}

// lock returns the function that unlocks the volume again, or errBusy; it never waits.
func (l *volumeLocks) lock(volumeID string) (unlock func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, busy := l.held[volumeID]; busy {
		return nil, fmt.Errorf("volume %s: %w", volumeID, errBusy)
	}
	if l.held == nil {
		l.held = map[string]chan struct{}{}
	}
	freed := make(chan struct{})
	l.held[volumeID] = freed
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.held, volumeID)
		close(freed)
	}, nil
}

// freed gives a channel that is closed when the operation on the volume that is under way, if any, has ended.
func (l *volumeLocks) freed(volumeID string) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if freed, busy := l.held[volumeID]; busy {
		return freed
	}
	free := make(chan struct{})
	close(free)
	return free
}
