package app

import (
	"context"
	"sync/atomic"
)

// stoppable gives a Stop to a task that only ends with its ctx.
type stoppable struct {
	run func(ctx context.Context) error
	// busy is full while the task runs.
	busy chan struct{}
	// end ends the latest run. It is nil before the first one.
	end atomic.Pointer[context.CancelFunc]
}

func newStoppable(run func(ctx context.Context) error) *stoppable {
	return &stoppable{run: run, busy: make(chan struct{}, 1)}
}

// Run runs the task until ctx ends, Stop is called, or the task fails.
func (s *stoppable) Run(ctx context.Context) error {
	s.busy <- struct{}{}
	defer func() { <-s.busy }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.end.Store(&cancel)
	return s.run(ctx)
}

// Stop ends Run and returns when it has ended.
func (s *stoppable) Stop() {
	if end := s.end.Load(); end != nil {
		(*end)()
	}
	s.busy <- struct{}{}
	<-s.busy
}
