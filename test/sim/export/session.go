package export

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"
)

// What Connect fails with.
var (
	// ErrRefused is wrapped by every reason not to let a host connect.
	ErrRefused = errors.New("connect refused")
	// ErrNotAllowed is such a reason: the subsystem lets another host in only.
	ErrNotAllowed = fmt.Errorf("%w: it isn't allowed", ErrRefused)
	// ErrDown says that the target doesn't answer; trying again may help.
	ErrDown = errors.New("the target is down")
)

// Session is one host connected to one subsystem.
type Session struct {
	// ID names the session to its initiator.
	ID string
	// HostNQN is the name the host gave.
	HostNQN string
	Subsystem

	revoked chan struct{} // closed when the subsystem was taken away
	lost    chan struct{} // closed when the connection broke at the target
	ended   chan struct{} // closed when the session left the registry
	// confirmed is set when the initiator itself ended the session; broken
	// when its stream went away without that. Both under Registry.mu.
	confirmed, broken bool
}

// Revoked is closed when the subsystem was taken away from the session.
func (s *Session) Revoked() <-chan struct{} { return s.revoked }

// Lost is closed when the target went down: the initiator isn't told more than
// that its connection is gone.
func (s *Session) Lost() <-chan struct{} { return s.lost }

// lose breaks the connection; Registry.mu is held.
func (s *Session) lose() {
	if !s.broken {
		s.broken = true
		close(s.lost)
	}
}

// Ended is closed when the session is over: ended by its initiator, or
// replaced by a new one of the same host.
func (s *Session) Ended() <-chan struct{} { return s.ended }

func (s *Session) isRevoked() bool {
	select {
	case <-s.revoked:
		return true
	default:
		return false
	}
}

// Connect lets a host in, or says why not with an error that wraps
// [ErrRefused] or [ErrDown]. An older session of the same host at the same subsystem ends.
func (r *Registry) Connect(nqn, host string) (*Session, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.find(nqn)
	switch {
	case r.lost:
		return nil, ErrDown
	case s == nil:
		return nil, fmt.Errorf("%w: no subsystem %q is exported", ErrRefused, nqn)
	case r.draining[s.Slot] > 0:
		return nil, fmt.Errorf("%w: subsystem %q is being torn down", ErrRefused, nqn)
	case s.AllowHost != "" && s.AllowHost != host:
		return nil, fmt.Errorf("%w: subsystem %q does not allow host %q", ErrNotAllowed, nqn, host)
	}
	for _, old := range r.sessions {
		if old.NQN == nqn && old.HostNQN == host {
			r.end(old)
		}
	}
	session := &Session{
		ID: uuid.NewString(), HostNQN: host, Subsystem: *s,
		revoked: make(chan struct{}), lost: make(chan struct{}), ended: make(chan struct{}),
	}
	r.sessions[session.ID] = session
	return session, nil
}

func (r *Registry) find(nqn string) *Subsystem {
	for _, s := range r.subsystems {
		if s.NQN == nqn {
			return s
		}
	}
	return nil
}

// end takes a session out of the registry; r.mu is held.
func (r *Registry) end(s *Session) {
	delete(r.sessions, s.ID)
	close(s.ended)
}

// End is the initiator's word that it has no way left to do I/O. It reports
// whether the session was known.
func (r *Registry) End(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.sessions[id]
	if s == nil {
		return false
	}
	s.confirmed = true
	r.end(s)
	return true
}

// Broken notes that the stream to the initiator went away. The session stays:
// the kernel behind it may still hold the disk.
func (r *Registry) Broken(s *Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.lose()
}

// SessionInfo describes a session that was not ended.
type SessionInfo struct {
	ID           string `json:"id"`
	Slot         string `json:"slot"`
	SubsystemNQN string `json:"subsystemNQN"`
	HostNQN      string `json:"hostNQN"`
	File         string `json:"file"`
	// Revoked says that the subsystem was taken away from it.
	Revoked bool `json:"revoked"`
	// Broken says that its stream went away without a word.
	Broken bool `json:"broken"`
}

// Sessions lists every session that was not ended, sorted by slot and host.
func (r *Registry) Sessions() []SessionInfo {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]SessionInfo, 0, len(r.sessions))
	for _, s := range r.sessions {
		list = append(list, SessionInfo{
			ID: s.ID, Slot: s.Slot, SubsystemNQN: s.NQN, HostNQN: s.HostNQN, File: s.File,
			Revoked: s.isRevoked(), Broken: s.broken,
		})
	}
	slices.SortFunc(list, func(a, b SessionInfo) int {
		return cmp.Or(cmp.Compare(a.Slot, b.Slot), cmp.Compare(a.HostNQN, b.HostNQN), cmp.Compare(a.ID, b.ID))
	})
	return list
}
