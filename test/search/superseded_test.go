package search

import (
	"fmt"
	"slices"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
)

// tooLong is for how long a host may write whose epoch was ended, once nothing keeps a controller from finding out: an
// appliance that forgot the end lets it in again. It is well below the boot window, in which a disk that is listed proves as
// much as ever.
const tooLong = 75 * time.Second

// epoch is a volume's subsystem NQN.
type epoch struct {
	volume *volume
	nqn    string
}

// ending is what ended an epoch: a process was told of a record of that generation, which names another epoch or none.
type ending struct {
	process    *process
	generation uint64
}

// superseded knows every epoch whose end was acknowledged, and watches for hosts that can write under one. There may be
// just one writer, and its export may agree with its record: then it is the record that is of the past.
type superseded struct {
	w *world
	// latest is the highest generation of a record that named an epoch, and ended what ended it.
	latest map[epoch]uint64
	ended  map[epoch]ending
	// writing are those that can write though their epoch has ended, by the machine, and since when nothing has kept a
	// controller from shutting them out.
	writing map[string]epoch
	since   time.Time
}

func newSuperseded(w *world) *superseded {
	return &superseded{w: w, latest: map[epoch]uint64{}, ended: map[epoch]ending{}, writing: map[string]epoch{}}
}

// wrote notes a record that was made. An epoch that is given back to whom it belongs hasn't ended.
func (s *superseded) wrote(v *volume, now disk) {
	if !now.record.Held() {
		return
	}
	named := epoch{v, nqnOf(now)}
	s.latest[named] = max(s.latest[named], now.record.Generation)
	if s.ended[named].generation < now.record.Generation {
		delete(s.ended, named)
	}
}

// acknowledged notes the end of every epoch that the operation's record doesn't name.
func (s *superseded) acknowledged(op *operation) {
	generation := op.wrote.record.Generation
	for other, latest := range s.latest {
		if other.volume == op.volume && latest < generation && (!op.wrote.record.Held() || other.nqn != nqnOf(op.wrote)) {
			s.ended[other] = ending{op.process, max(generation, s.ended[other].generation)}
		}
	}
}

// look notes who can write to a volume under an epoch that has ended.
func (s *superseded) look(v *volume, writers []*machine) {
	for id, e := range s.writing {
		if e.volume == v {
			delete(s.writing, id)
		}
	}
	for _, m := range writers {
		e := epoch{v, m.connected[v].nqn}
		if end, ended := s.ended[e]; ended && !s.again(m, e, end) {
			s.writing[m.id] = e
		}
	}
}

// again tells whether a machine was given an epoch again since it ended, by a controller that didn't know of the end. It is
// attached then like any other.
func (s *superseded) again(m *machine, e epoch, end ending) bool {
	return slices.ContainsFunc(s.w.api.attached(e.volume), func(o *object) bool {
		return o.Attached && !o.Detaching() && o.Grant.Node == m.connected[e.volume].grant.Node && o.Grant.SubsystemNQN == e.nqn && o.Grant.Generation >= end.generation
	})
}

// check says who has been writing for too long.
func (s *superseded) check() error {
	var late []string
	for id, e := range s.writing {
		if s.canTell(e) {
			late = append(late, fmt.Sprintf("%s under %s, which ended with generation %d", id, e.nqn, s.ended[e].generation))
		}
	}
	if len(late) == 0 {
		s.since = time.Time{}
		return nil
	}
	if s.since.IsZero() {
		s.since = time.Now()
	}
	if time.Since(s.since) < tooLong {
		return nil
	}
	slices.Sort(late)
	return fmt.Errorf("for %s nobody has shut out %v", time.Since(s.since), late)
}

// canTell tells whether a running controller knows that an epoch has ended, or reads so in Kubernetes, and has what it takes
// to do something about it.
func (s *superseded) canTell(e epoch) bool {
	w := s.w
	if w.storage.appliance.Phase() != appliance.Up || often(w.storage.trouble) || w.storage.hangs || often(w.api.failing) || w.storage.duplicated() {
		return false
	}
	granted := slices.ContainsFunc(w.api.attached(e.volume), func(o *object) bool { return o.Grant.Generation >= s.ended[e].generation })
	return slices.ContainsFunc(w.processes, func(p *process) bool {
		return p.cache.Synced() && !p.cache.stands() && (granted || p == s.ended[e].process)
	})
}

// often tells whether what fails one in so many times fails so often that little gets done.
func often(failing int) bool { return failing > 0 && failing < 10 }
