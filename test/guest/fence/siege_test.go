package fence

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/test/guest/world"
)

// watched is how long the old node may try to get in after the take-over. It reconnects once a second.
const watched = 2500 * time.Millisecond

// largeWrite is the size of a write of a machine that is to be frozen. The target sends for the data of such a write only
// when it has the command, and the network takes a while for it: most of what is under way is then still in the machine.
const largeWrite = 32 * blockSize

// siege is one volume that goes from node A to node B while A's programs write.
type siege struct {
	w      *field
	volume *world.Volume
	a, b   *machine
	nqn    string // of A's epoch
	memory uint64 // where A's counts are
	// frozen is how A stood when it was frozen, nil unless it is.
	frozen *Standing
	// connects counts the attempts of programs of A's to connect once more; atEnd ends them.
	connects atomic.Uint64
	atEnd    func()
}

// outcome is what became of the old node.
type outcome struct {
	// before is how many of its writes were acknowledged before the take-over was asked for.
	before uint64
	// took is how long the take-over took.
	took time.Duration
	// underWay is how many of its writes were begun and not over right after the take-over, lost how many of those that
	// were begun by then were never acknowledged, and refused how often the target refused its kernel afterwards.
	underWay      uint64
	lost, refused int
	// late is how many blocks were in the backing file in the end that the old node wrote after the take-over, or that
	// weren't what they were right after it.
	late int
	// lateForB is the same as node B reads it.
	lateForB int
	// lateAcknowledged says that a write which was begun after the take-over was acknowledged.
	lateAcknowledged bool
	// errors is how many of its attempts to write failed, connects how often its programs tried to connect.
	errors, connects uint64
	// state is A's controller's in the end.
	state string
}

func (o outcome) fenced() bool { return o.late == 0 && o.lateForB == 0 && !o.lateAcknowledged }

// tried tells whether A was writing when the volume was taken over, and went on: it still had writes to send, and its kernel
// connected again for them.
func (o outcome) tried() bool { return o.underWay > 0 && o.lost > 0 && o.refused > 0 }

func (o outcome) String() string {
	return fmt.Sprintf("%d writes before, taken over in %.2f s with %d under way, then %d late blocks (%d for B), late acknowledgement %t, "+
		"%d of the earlier writes lost, %d errors, %d connects, %d refusals, controller %s",
		o.before, o.took.Seconds(), o.underWay, o.late, o.lateForB, o.lateAcknowledged, o.lost, o.errors, o.connects, o.refused, o.state)
}

// besiege has node A hold a new volume and write to it, takes the volume over for node B, and tells what A could still do.
func besiege(t *testing.T, w *field, name string, v variant) outcome {
	t.Helper()
	s := &siege{w: w, a: w.here, b: w.there, atEnd: func() {}}
	attack := Order{Writers: 4, Size: blockSize}
	if v.away {
		s.a, s.b = s.b, s.a
	}
	if v.frozen() {
		attack = Order{Writers: 16, Size: largeWrite, Options: v.options}
	}
	s.volume = w.Create(t, name, volumeSize)
	s.nqn = s.volume.Publish(t, world.NodeA)
	defer s.end(t)
	attack.NQN = s.nqn
	s.memory = s.a.ask(t, "Attack", attack).Memory
	world.Eventually(t, "node A writes", func() bool { return s.standing(t, 0).Acknowledged > uint64(blocks*blockSize/attack.Size/4) })

	o := outcome{before: s.standing(t, 0).Acknowledged}
	then := v.before(t, s)
	started := time.Now()
	w.Lose(world.NodeA)
	granted := s.volume.Publish(t, world.NodeB)
	o.took = time.Since(started)
	taken := s.standing(t, 0)
	expected := s.read(t)
	then()

	content := bytes.Repeat([]byte("B's data"), len(expected)/2/8)
	s.b.ask(t, "Write", Order{NQN: granted, Content: content})
	copy(expected, content)
	v.after(t, s)
	<-time.After(watched)
	o.late = late(expected, s.read(t), taken.Begun)
	o.lateForB = late(expected, s.b.ask(t, "Read", Order{NQN: granted, Length: len(expected)}).Content, taken.Begun)
	o.connects, o.refused = s.connects.Load(), refusals(t, s.nqn)
	ended := s.standing(t, taken.Begun)
	o.lateAcknowledged = ended.Acknowledged > taken.Begun
	o.underWay, o.lost = taken.Begun-taken.Ended, ended.Lost
	o.errors, o.state = ended.Errors, ended.State
	return o
}

// standing tells how A stands and, unless it is frozen, how many of its writes up to that number are lost.
func (s *siege) standing(t *testing.T, number uint64) Standing {
	t.Helper()
	if s.frozen == nil {
		return s.a.ask(t, "Stand", Order{Number: number}).Standing
	}
	standing, err := standingIn(s.w.monitor.words(t, s.memory, 5))
	if err != nil {
		t.Fatalf("node A's memory: %v", err)
	}
	return standing
}

// end stops A and removes the volume.
func (s *siege) end(t *testing.T) {
	t.Helper()
	s.thaw(t)
	s.atEnd()
	s.a.ask(t, "End", Order{NQN: s.nqn})
	s.volume.Unpublish(t, world.NodeB)
	s.volume.Delete(t)
}

// read gives what the backing file has where A writes.
func (s *siege) read(t *testing.T) []byte {
	t.Helper()
	content := make([]byte, blocks*blockSize)
	file, err := os.Open(s.volume.File)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.ReadFull(file, content)
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatalf("read the backing file: %v", err)
	}
	return content
}

// late counts the blocks that changed, or that carry the number of a write which was begun too late.
func late(expected, found []byte, begun uint64) int {
	count := 0
	for at := 0; at < len(found); at += blockSize {
		was, is := expected[at:at+blockSize], found[at:at+blockSize]
		ofA := bytes.Count(is[8:], []byte{0}) == blockSize-8 // A's blocks have nothing but a number
		if !bytes.Equal(was, is) || ofA && numberOf(is) > begun {
			count++
		}
	}
	return count
}
