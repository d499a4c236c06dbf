package fence

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"k8s.io/klog/v2"

	"git.srvlab.io/whiskey/rds-csi-driver/test/guest/world"
)

const (
	volumeSize = 16 << 20
	blockSize  = 4096
	// blocks of a volume that the writers write to, again and again.
	blocks = 512
)

// writers write numbered blocks past the page cache, and never give up: after an error they look for the device anew.
type writers struct {
	nqn string
	// size is that of a write, whole blocks.
	size    int
	stop    context.CancelFunc
	done    sync.WaitGroup
	page    []byte
	*counts // at the beginning of the page

	mu sync.Mutex
	// unheard are the numbers of the writes that weren't acknowledged, be they over or not.
	unheard map[uint64]struct{}
}

// counts are what somebody outside the machine reads, who knows where they are in its memory.
type counts struct {
	mark atomic.Uint64
	// begun is the highest number of a write that was begun, and with it how many were; ended is how many are over, and
	// acknowledged the highest number of one that the kernel called written. errors are also those of opening the device.
	begun, ended, acknowledged, errors atomic.Uint64
}

// mark is how counts in memory begin.
const mark = 0x736e656373697321

// Standing is how node A stands.
type Standing struct {
	Begun, Ended, Acknowledged, Errors uint64
	// Lost is how many of the writes that were asked about weren't acknowledged.
	Lost int
	// State is its controller's.
	State string
}

func startWriters(nqn string, count, size int) (*writers, error) {
	page, err := mapped(os.Getpagesize())
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	w := &writers{nqn: nqn, size: size, stop: stop, page: page, counts: (*counts)(unsafe.Pointer(&page[0])), unheard: map[uint64]struct{}{}}
	w.mark.Store(mark)
	for range count {
		w.done.Go(func() {
			for ctx.Err() == nil {
				if err := w.write(ctx); err != nil {
					w.errors.Add(1)
					<-time.After(10 * time.Millisecond)
				}
			}
		})
	}
	return w, nil
}

// write writes until it fails or ctx ends.
func (w *writers) write(ctx context.Context) (err error) {
	device, err := os.OpenFile(world.Device(w.nqn), os.O_WRONLY|syscall.O_DIRECT|syscall.O_SYNC, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, device.Close()) }()
	content, err := mapped(w.size)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, syscall.Munmap(content)) }()
	for ctx.Err() == nil {
		if err := w.writeOne(device, content); err != nil {
			return err
		}
	}
	return nil
}

func (w *writers) writeOne(device *os.File, content []byte) error {
	number := w.begin()
	defer w.ended.Add(1)
	for at := 0; at < w.size; at += blockSize {
		binary.BigEndian.PutUint64(content[at:], number)
	}
	if _, err := device.WriteAt(content, int64(number)*int64(w.size)%(blocks*blockSize)); err != nil {
		return err
	}
	w.acknowledge(number)
	return nil
}

func (w *writers) begin() (number uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	number = w.begun.Add(1)
	w.unheard[number] = struct{}{}
	return number
}

func (w *writers) acknowledge(number uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.unheard, number)
	w.acknowledged.Store(max(number, w.acknowledged.Load()))
}

// standing tells of lost writes only among those up to that number.
func (w *writers) standing(number uint64) Standing {
	s := Standing{Begun: w.begun.Load(), Ended: w.ended.Load(), Acknowledged: w.acknowledged.Load(), Errors: w.errors.Load()}
	w.mu.Lock()
	defer w.mu.Unlock()
	for unheard := range w.unheard {
		if unheard <= number {
			s.Lost++
		}
	}
	return s
}

// standingIn is standing as the counts' words in memory tell it.
func standingIn(words []uint64) (Standing, error) {
	if words[0] != mark {
		return Standing{}, fmt.Errorf("these are no counts: %#x", words)
	}
	return Standing{Begun: words[1], Ended: words[2], Acknowledged: words[3], Errors: words[4]}, nil
}

// memory is the physical address of the counts, which Linux tells in /proc/PID/pagemap: of every page a word that has the
// page's frame in its lower 55 bits.
func (w *writers) memory() (address uint64, err error) {
	pages, err := os.Open("/proc/self/pagemap")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, pages.Close()) }()
	word, page := make([]byte, 8), uint64(os.Getpagesize())
	if _, err := pages.ReadAt(word, int64(uint64(uintptr(unsafe.Pointer(&w.page[0])))/page*8)); err != nil {
		return 0, err
	}
	frame := binary.NativeEndian.Uint64(word) & (1<<55 - 1)
	if frame == 0 {
		return 0, errors.New("the kernel doesn't tell where the counts are in memory")
	}
	return frame * page, nil
}

// end stops the writers. Those that wait for a connection get an error once the kernel has no controller left. If it hangs in
// removing it they are left behind.
func (w *writers) end() error {
	w.stop()
	ended := make(chan struct{})
	go func() {
		w.done.Wait()
		close(ended)
	}()
	for deadline := time.Now().Add(world.Patience); time.Now().Before(deadline); {
		world.DisconnectAll(w.nqn)
		select {
		case <-ended:
			return syscall.Munmap(w.page)
		case <-time.After(50 * time.Millisecond):
		}
	}
	klog.Background().Info("The kernel hangs with what is being written", "subsystemNQN", w.nqn)
	return nil
}

// numberOf is the number that a block of the backing file was written under, 0 if never.
func numberOf(block []byte) uint64 { return binary.BigEndian.Uint64(block) }
