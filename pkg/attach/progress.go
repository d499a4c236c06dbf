package attach

import (
	"slices"
	"sync"
	"time"
)

// Unfinished is what the reconciler has seen begin and not end yet, by the clock of this process.
type Unfinished struct {
	// Stale is the number of attachments whose node is proven gone and that aren't deleted yet. StaleSince is when the first
	// of them was found; zero if there is none.
	Stale      int
	StaleSince time.Time
	// DetachingSince is when the first of the attachments that are being deleted was seen so; zero if there is none.
	DetachingSince time.Time
}

// Phase is a part of a failover: what comes after a Node was deleted, for each stale attachment that this process cleared.
// Its value is a label of a metric.
type Phase string

// The phases. Each takes from the deletion of the Node, as this process saw it.
const (
	// PhasePodsGone: until no pod on the node used the volume.
	PhasePodsGone Phase = "pods_gone"
	// PhaseCleared: until the stale attachment was deleted.
	PhaseCleared Phase = "cleared"
	// PhaseFenced: until it was gone. external-attacher keeps it until the node's access is revoked.
	PhaseFenced Phase = "fenced"
	// PhaseAttached: until the volume was attached to another node.
	PhaseAttached Phase = "attached"
)

// Phases returns every phase, so that each can be counted from zero.
func Phases() []Phase { return []Phase{PhasePodsGone, PhaseCleared, PhaseFenced, PhaseAttached} }

// followFor is for how long the deletion of a node, and a failover that doesn't end, are remembered.
const followFor = time.Hour

// progress remembers when this process saw what of nodes and attachments. Nothing is decided on it. It is safe for
// concurrent use.
type progress struct {
	observer Observer

	mu sync.Mutex
	// deleted is when a node's deletion was seen, by name.
	deleted map[string]time.Time
	// stale and detaching are attachments, by name.
	stale     map[string]*staleAttachment
	detaching map[string]detachingAttachment
	// failovers are those whose attachment was cleared, by its UID.
	failovers map[string]*failover
	reported  Unfinished
}

type staleAttachment struct {
	uid string
	// since is when it was found stale. podsGone is when no pod used the volume any more, and nodeDeleted when the deletion of
	// the node was seen; each may be zero.
	since, podsGone, nodeDeleted time.Time
}

type detachingAttachment struct {
	uid   string
	since time.Time
}

type failover struct {
	attachment, volume string
	nodeDeleted        time.Time
	// others had the volume attached already.
	others           []string
	fenced, attached bool
}

func newProgress(observer Observer) *progress {
	p := &progress{observer: observer, deleted: map[string]time.Time{}}
	p.reset()
	return p
}

// reset forgets all attachments: another process may work on them from now on.
func (p *progress) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stale, p.detaching, p.failovers = map[string]*staleAttachment{}, map[string]detachingAttachment{}, map[string]*failover{}
	p.report()
}

// appeared forgets the deletion of a node: one of the same name exists.
func (p *progress) appeared(node string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.deleted, node)
}

func (p *progress) vanished(node string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, at := range p.deleted {
		if time.Since(at) > followFor {
			delete(p.deleted, name)
		}
	}
	p.deleted[node] = time.Now()
}

// saw is called with each attachment as the cache has it.
func (p *progress) saw(attachment Attachment) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if stale, found := p.stale[attachment.Name]; found && (stale.uid != attachment.UID || attachment.Detaching()) {
		delete(p.stale, attachment.Name)
	}
	if known, found := p.detaching[attachment.Name]; found && (known.uid != attachment.UID || !attachment.Detaching()) {
		delete(p.detaching, attachment.Name)
	}
	if _, found := p.detaching[attachment.Name]; !found && attachment.Detaching() {
		p.detaching[attachment.Name] = detachingAttachment{uid: attachment.UID, since: time.Now()}
	}
	for uid, failover := range p.failovers {
		if uid == attachment.UID {
			continue
		}
		if failover.attachment == attachment.Name {
			p.fence(failover)
		}
		if failover.volume == attachment.Volume && attachment.Attached && !attachment.Detaching() && !slices.Contains(failover.others, attachment.UID) {
			p.attach(failover)
		}
	}
	p.report()
}

// gone is called with the name of an attachment that doesn't exist.
func (p *progress) gone(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forget(name)
	p.report()
}

// keep forgets all attachments but these.
func (p *progress) keep(names []string) {
	exists := map[string]bool{}
	for _, name := range names {
		exists[name] = true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for name := range p.stale {
		if !exists[name] {
			p.forget(name)
		}
	}
	for name := range p.detaching {
		if !exists[name] {
			p.forget(name)
		}
	}
	p.report()
}

// notStale is called with an attachment whose node isn't proven gone.
func (p *progress) notStale(attachment Attachment) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.stale, attachment.Name)
	p.report()
}

// foundStale is called with an attachment whose node is proven gone.
func (p *progress) foundStale(attachment Attachment) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, found := p.stale[attachment.Name]; !found {
		p.stale[attachment.Name] = &staleAttachment{uid: attachment.UID, since: time.Now(), nodeDeleted: p.deleted[attachment.NodeName]}
	}
	p.report()
}

// askedForPods is called with how many pods use the volume of an attachment.
func (p *progress) askedForPods(attachment Attachment, pods int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	stale, found := p.stale[attachment.Name]
	switch {
	case !found:
	case pods > 0:
		stale.podsGone = time.Time{}
	case stale.podsGone.IsZero():
		stale.podsGone = time.Now()
	}
}

// cleared is called with a stale attachment that was deleted, and with the UIDs of others that had the volume attached.
func (p *progress) cleared(attachment Attachment, others []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	stale, found := p.stale[attachment.Name]
	delete(p.stale, attachment.Name)
	p.report()
	if !found || stale.nodeDeleted.IsZero() {
		return
	}
	for uid, failover := range p.failovers {
		if time.Since(failover.nodeDeleted) > followFor {
			delete(p.failovers, uid)
		}
	}
	p.observer.Phase(PhasePodsGone, stale.podsGone.Sub(stale.nodeDeleted))
	p.observer.Phase(PhaseCleared, time.Since(stale.nodeDeleted))
	p.failovers[attachment.UID] = &failover{attachment: attachment.Name, volume: attachment.Volume, nodeDeleted: stale.nodeDeleted, others: others}
}

// The methods below need mu.

func (p *progress) forget(name string) {
	delete(p.stale, name)
	delete(p.detaching, name)
	for _, failover := range p.failovers {
		if failover.attachment == name {
			p.fence(failover)
		}
	}
}

func (p *progress) fence(f *failover) {
	if !f.fenced {
		f.fenced = true
		p.observer.Phase(PhaseFenced, time.Since(f.nodeDeleted))
	}
}

func (p *progress) attach(f *failover) {
	if !f.attached {
		f.attached = true
		p.observer.Phase(PhaseAttached, time.Since(f.nodeDeleted))
	}
}

// report tells the observer, if something has changed.
func (p *progress) report() {
	unfinished := Unfinished{Stale: len(p.stale)}
	earliest := func(first *time.Time, since time.Time) {
		if first.IsZero() || since.Before(*first) {
			*first = since
		}
	}
	for _, stale := range p.stale {
		earliest(&unfinished.StaleSince, stale.since)
	}
	for _, detaching := range p.detaching {
		earliest(&unfinished.DetachingSince, detaching.since)
	}
	if unfinished != p.reported {
		p.reported = unfinished
		p.observer.Unfinished(unfinished)
	}
}
