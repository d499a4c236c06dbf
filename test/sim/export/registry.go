package export

import (
	"context"
	"encoding/hex"
	"sync"
	"time"

	"github.com/google/uuid"
)

// Subsystem is one exported disk.
type Subsystem struct {
	// Slot names the disk.
	Slot string
	// NQN is the only name the subsystem answers to.
	NQN string
	// AllowHost is the one host NQN that may connect; "" lets every host in.
	AllowHost string
	// File is the absolute path of the backing file on this machine.
	File string
	// Size in bytes, as the initiator sees it.
	Size int64
	// Serial and UUID identify the namespace to initiators.
	Serial, UUID string
}

// Options of a [Registry].
type Options struct {
	// RevokeWait bounds how long a withdrawal waits for its sessions to be
	// ended by their initiators; 2 s if zero.
	RevokeWait time.Duration
	// StableIdentity keeps serial and UUID of a slot over withdrawal and
	// restart. Without it both are new each time a disk is exported.
	StableIdentity bool
	// Kernel, when set, follows everything that is published and withdrawn.
	Kernel Kernel
}

// Registry holds the live subsystems and sessions. It is safe for concurrent
// use.
type Registry struct {
	options Options

	mu          sync.Mutex
	subsystems  map[string]*Subsystem // by slot
	sessions    map[string]*Session   // by id
	draining    map[string]int        // withdrawals in progress, by slot
	lost        bool                  // the target itself is down
	revocations []Revocation
}

// New makes an empty registry.
func New(options Options) *Registry {
	if options.RevokeWait == 0 {
		options.RevokeWait = 2 * time.Second
	}
	return &Registry{
		options:    options,
		subsystems: map[string]*Subsystem{},
		sessions:   map[string]*Session{},
		draining:   map[string]int{},
	}
}

// tell has the kernel follow; r.mu is held, so that it does so in order.
func (r *Registry) tell(what func(Kernel)) {
	if r.options.Kernel != nil {
		what(r.options.Kernel)
	}
}

// Publish makes a subsystem reachable. Its slot must not be published.
func (r *Registry) Publish(s Subsystem) {
	id := uuid.New()
	if r.options.StableIdentity {
		id = uuid.NewSHA1(uuid.NameSpaceOID, []byte(s.Slot))
	}
	s.UUID = id.String()
	s.Serial = hex.EncodeToString(id[:8])
	r.mu.Lock()
	defer r.mu.Unlock()
	r.subsystems[s.Slot] = &s
	r.tell(func(k Kernel) { k.Publish(s) })
}

// Update changes what new connections see of a published subsystem. Hosts
// that are connected stay connected.
func (r *Registry) Update(slot string, change func(*Subsystem)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.subsystems[slot]; s != nil {
		change(s)
		r.tell(func(k Kernel) { k.Update(*s) })
	}
}

// Lose takes the whole target down, as a power cut does: every stream ends
// without a word, and nobody is let in until Restore. The sessions stay listed
// as broken.
func (r *Registry) Lose() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lost = true
	r.subsystems = map[string]*Subsystem{}
	for _, session := range r.sessions {
		session.lose()
	}
	r.tell(func(k Kernel) { k.Lose() })
}

// Restore brings the target back, without any subsystem.
func (r *Registry) Restore() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lost = false
	r.tell(func(k Kernel) { k.Restore() })
}

// Listens tells whether anything is exported. The kernel's target opens its
// port with the first subsystem, and closes it with the last.
func (r *Registry) Listens() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.lost && len(r.subsystems) > 0
}

// Withdraw makes a slot unreachable at once and tells its sessions. The
// returned function waits until every one of them was ended, at most
// RevokeWait; until it returns the slot refuses connections, even if it is
// published again meanwhile. It must be called.
func (r *Registry) Withdraw(slot string) (wait func(context.Context)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.subsystems[slot]
	if s == nil {
		return func(context.Context) {}
	}
	delete(r.subsystems, slot)
	r.tell(func(k Kernel) { k.Withdraw(*s) })
	r.draining[slot]++
	started := time.Now()
	var cut []*Session
	for _, session := range r.sessions {
		if session.NQN == s.NQN && session.Slot == slot && !session.isRevoked() {
			close(session.revoked)
			cut = append(cut, session)
		}
	}
	return func(ctx context.Context) {
		r.drain(ctx, cut, started)
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.draining[slot]--; r.draining[slot] == 0 {
			delete(r.draining, slot)
		}
	}
}

// drain waits for the sessions and records how each of them went.
func (r *Registry) drain(ctx context.Context, cut []*Session, started time.Time) {
	ctx, cancel := context.WithTimeout(ctx, r.options.RevokeWait)
	defer cancel()
	for _, session := range cut {
		select {
		case <-session.ended:
		case <-ctx.Done():
		}
		r.record(session, started)
	}
}
