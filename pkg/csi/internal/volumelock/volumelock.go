// Package volumelock lets one operation per volume run at a time within a process.
package volumelock

import (
	"fmt"
	"sync"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
)

// Locks are the locks of all volumes, each named by a key. The zero value is ready for use. It is safe for concurrent
// use.
type Locks[K comparable] struct {
	mu sync.Mutex
	// locked has a channel for every volume that is locked. It is closed when the volume is unlocked.
	locked map[K]chan struct{}
}

// Lock locks the volume and returns the function that unlocks it. If the volume is locked already, it returns
// failure.ErrBusy. It never waits.
func (l *Locks[K]) Lock(volume K) (unlock func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, busy := l.locked[volume]; busy {
		return nil, fmt.Errorf("volume %v: %w", volume, failure.ErrBusy)
	}
	if l.locked == nil {
		l.locked = map[K]chan struct{}{}
	}
	unlocked := make(chan struct{})
	l.locked[volume] = unlocked
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.locked, volume)
		close(unlocked)
	}, nil
}

// Unlocked returns a channel that is closed when the volume is unlocked next, or at once if it isn't locked.
func (l *Locks[K]) Unlocked(volume K) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if unlocked, busy := l.locked[volume]; busy {
		return unlocked
	}
	free := make(chan struct{})
	close(free)
	return free
}
