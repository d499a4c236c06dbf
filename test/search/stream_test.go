package search

import (
	"maps"
	"slices"
	"time"
)

// stream is the watch of one resource: what happened is heard of in its order, one event at a time and late. It may be lost;
// then there is a new list, and what happened meanwhile only shows by its outcome. Each resource has its own, so what is heard
// of two of them may be of different times.
type stream struct {
	e *engine
	// stalled is until when nothing is heard, without the watch being lost.
	stalled time.Time
	pending []event
	// listed says that the first list has come, and ended that nobody listens any more.
	listed, ended bool
	// lost says that the watch was ended by the API server, and that there has to be a new list.
	lost bool
	// fits tells which events it is about; list tells of everything that there is, or was as far as is known.
	fits  func(event) bool
	list  func() []event
	apply func(event)
}

// tell queues what happened.
func (s *stream) tell(told event) {
	if s.fits(told) {
		s.pending = append(s.pending, told)
	}
}

// run hears of what happens, after a first list that takes up to a time.
func (s *stream) run(patience time.Duration) {
	s.e.sleep(s.e.upTo(patience))
	s.relist()
	s.listed = true
	for {
		s.e.await(time.Time{}, func() bool { return len(s.pending) > 0 || s.ended || s.lost })
		switch {
		case s.ended:
			return
		case time.Now().Before(s.stalled):
			s.e.sleep(time.Until(s.stalled))
		case s.lost, s.e.chance(30):
			s.lost = false
			s.e.log("lost its watch")
			s.e.sleep(s.e.upTo(5 * time.Second))
			s.relist()
		default:
			next := s.pending[0]
			s.pending = s.pending[1:]
			s.apply(next)
		}
	}
}

func (s *stream) relist() {
	s.pending = nil
	for _, told := range s.list() {
		s.apply(told)
	}
}

// stands tells whether nothing is heard for now.
func (s *stream) stands() bool { return time.Now().Before(s.stalled) }

func union[A, B any](a map[string]A, b map[string]B) []string {
	names := slices.Concat(slices.Collect(maps.Keys(a)), slices.Collect(maps.Keys(b)))
	slices.Sort(names)
	return slices.Compact(names)
}
