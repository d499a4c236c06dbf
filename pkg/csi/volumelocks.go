package csi

import (
	"fmt"
	"sync"
)

// volumeLocks admits one operation per volume at a time. The zero value is ready for use.
type volumeLocks struct {
	mu sync.Mutex
	// held has a channel for each volume that is locked, which is closed when it is unlocked.
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
	unlocked := make(chan struct{})
	l.held[volumeID] = unlocked
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.held, volumeID)
		close(unlocked)
	}, nil
}

// unlocked returns a channel that is closed as soon as the volume isn't locked, or isn't locked by whoever has it locked now.
func (l *volumeLocks) unlocked(volumeID string) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if unlocked, busy := l.held[volumeID]; busy {
		return unlocked
	}
	unlocked := make(chan struct{})
	close(unlocked)
	return unlocked
}
