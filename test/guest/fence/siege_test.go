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

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/test/guest/world"
)

// watched is how long the old node may try to get in after the take-over. It reconnects once a second.
const watched = 2500 * time.Millisecond

// siege is one volume that goes from node A to node B while A's programs write.
type siege struct {
	w          *field
	volume     *world.Volume
	host       nvme.HostIdentity // of node A
	nqn        string            // of A's epoch
	controller string            // A's
	writers    *writers
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

func (o outcome) String() string {
	return fmt.Sprintf("%d writes before, taken over in %.2f s, then %d late blocks (%d for B), late acknowledgement %t, %d errors, %d connects, controller %s",
		o.before, o.took.Seconds(), o.late, o.lateForB, o.lateAcknowledged, o.errors, o.connects, o.state)
}

// besiege has node A hold a new volume and write to it, takes the volume over for node B, and tells what A could still do.
func besiege(t *testing.T, w *field, name string, v variant) outcome {
	t.Helper()
	s := &siege{w: w, host: nvme.HostOf("machine-a"), atEnd: func() {}}
	s.volume = w.Create(t, name, volumeSize)
	s.nqn = s.volume.Publish(t, world.NodeA)
	s.controller, _ = world.MustConnect(t, s.nqn, s.host, "reconnect_delay=1", "ctrl_loss_tmo=-1")
	s.writers = startWriters(t, s.nqn)
	defer s.end(t)
	world.Eventually(t, "node A writes", func() bool { return s.writers.acknowledged.Load() > blocks/4 })

	o := outcome{before: s.writers.acknowledged.Load()}
	then := v.before(t, s)
	started := time.Now()
	w.Lose(world.NodeA)
	granted := s.volume.Publish(t, world.NodeB)
	o.took = time.Since(started)
	begun := s.writers.begun.Load()
	expected := s.read(t)
	then()

	content := bytes.Repeat([]byte("B's data"), len(expected)/2/8)
	w.b.ask(t, "Write", Order{NQN: granted, Content: content})
	copy(expected, content)
	v.after(t, s)
	<-time.After(watched)
	o.lateAcknowledged = s.writers.acknowledged.Load() > begun
	o.late = late(expected, s.read(t), begun)
	o.lateForB = late(expected, w.b.ask(t, "Read", Order{NQN: granted, Length: len(expected)}), begun)
	o.connects = s.connects.Load()
	o.errors, o.state = s.writers.errors.Load(), world.State(s.controller)
	return o
}

// end stops A and removes the volume.
func (s *siege) end(t *testing.T) {
	t.Helper()
	s.atEnd()
	s.writers.end()
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
