package export

import (
	"time"
)

// Revocation records one host that was cut off.
type Revocation struct {
	Slot         string `json:"slot"`
	SubsystemNQN string `json:"subsystemNQN"`
	HostNQN      string `json:"hostNQN"`
	// Time is when the subsystem was taken away.
	Time time.Time `json:"time"`
	// Confirmed says that the initiator ended its session in time.
	Confirmed bool `json:"confirmed"`
	// Seconds is how long the withdrawal waited for this session.
	Seconds float64 `json:"seconds"`
}

func (r *Registry) record(s *Session, started time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.revocations = append(r.revocations, Revocation{
		Slot: s.Slot, SubsystemNQN: s.NQN, HostNQN: s.HostNQN,
		Time: started, Confirmed: s.confirmed, Seconds: time.Since(started).Seconds(),
	})
}

// Revocations lists every revocation since the start, oldest first. One is
// listed when its withdrawal has stopped waiting for it.
func (r *Registry) Revocations() []Revocation {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Revocation{}, r.revocations...)
}
