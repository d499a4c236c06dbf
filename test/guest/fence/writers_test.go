package fence

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/test/guest/world"
)

const (
	volumeSize = 16 << 20
	blockSize  = 4096
	// blocks of a volume that the writers write to, again and again.
	blocks = 512
	// writerCount is how many writes are under way at once.
	writerCount = 4
)

// writers write numbered blocks past the page cache, and never give up: after an error they look for the device anew.
type writers struct {
	nqn  string
	stop context.CancelFunc
	done sync.WaitGroup
	// gate is held for reading around each write; who holds it for writing has all of them stand still.
	gate sync.RWMutex
	// begun is the highest number of a write that was begun, acknowledged of one that the kernel called written.
	begun, acknowledged, errors atomic.Uint64
}

func startWriters(t *testing.T, nqn string) *writers {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	w := &writers{nqn: nqn, stop: stop}
	for range writerCount {
		// The kernel wants memory for direct I/O aligned, as a mapping is.
		block, err := syscall.Mmap(-1, 0, blockSize, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
		if err != nil {
			t.Fatal(err)
		}
		w.done.Go(func() {
			for ctx.Err() == nil {
				if err := w.write(ctx, block); err != nil {
					w.errors.Add(1)
					<-time.After(10 * time.Millisecond)
				}
			}
			_ = syscall.Munmap(block)
		})
	}
	return w
}

// write writes until it fails or ctx ends.
func (w *writers) write(ctx context.Context, block []byte) (err error) {
	device, err := os.OpenFile(world.Device(w.nqn), os.O_WRONLY|syscall.O_DIRECT|syscall.O_SYNC, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, device.Close()) }()
	for ctx.Err() == nil {
		if err := w.writeOne(device, block); err != nil {
			return err
		}
	}
	return nil
}

func (w *writers) writeOne(device *os.File, block []byte) error {
	w.gate.RLock()
	defer w.gate.RUnlock()
	number := w.begun.Add(1)
	binary.BigEndian.PutUint64(block, number)
	if _, err := device.WriteAt(block, int64(number%blocks)*blockSize); err != nil {
		return err
	}
	for {
		highest := w.acknowledged.Load()
		if number <= highest || w.acknowledged.CompareAndSwap(highest, number) {
			return nil
		}
	}
}

// end stops the writers. Those that wait for a connection get an error once the kernel has no controller left.
func (w *writers) end() {
	w.stop()
	ended := make(chan struct{})
	go func() {
		w.done.Wait()
		close(ended)
	}()
	for {
		world.DisconnectAll(w.nqn)
		select {
		case <-ended:
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// numberOf is the number that a block of the backing file was written under, 0 if never.
func numberOf(block []byte) uint64 { return binary.BigEndian.Uint64(block) }
