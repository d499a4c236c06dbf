package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	deadFileName = "writes-of-the-first-node"
	writeEvery   = 100 * time.Millisecond
	blockSize    = 4096
	// deadBlocks is more than the writer can write until the failover is out of time.
	deadBlocks = 4096
)

var (
	errOtherDevice = errors.New("the volume isn't mounted any more")
	errFull        = errors.New("the file has no block left")
)

// deadWriter is the program on the node that is lost: it goes on writing block after block of a file in the volume, and
// each counts only once the disk confirmed it. After the node was shut out not one may get through.
//
// A confirmation must be the disk's own. A line appended to a file needs the filesystem's journal, too: when ext4 or xfs is
// shut down in the middle of an fsync, the journal drops the transaction, and Linux 6.18 has fsync succeed all the same.
// So the file is written in full before, and its blocks are overwritten where they are, past the page cache.
type deadWriter struct {
	path   string
	volume uint64 // device of the volume's file system
	block  []byte // what is written; aligned, as direct I/O needs it

	ended        chan struct{}
	attempts     int       // valid after ended; each has the block and the number that come after the last one's
	acknowledged []int     // the attempts that the disk confirmed; valid after ended
	last         time.Time // when the last of them began; valid after ended
	failure      error     // of the last attempt; valid after ended
}

// newDeadWriter makes the file in the volume that is mounted at folder.
func newDeadWriter(folder string) (w *deadWriter, err error) {
	w = &deadWriter{path: filepath.Join(folder, deadFileName), ended: make(chan struct{})}
	file, err := os.OpenFile(w.path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("write into the volume: %w", err)
	}
	_, err = file.Write(make([]byte, deadBlocks*blockSize))
	info, failure := file.Stat()
	if err := errors.Join(err, failure, file.Sync(), file.Close()); err != nil {
		return nil, fmt.Errorf("write into the volume: %w", err)
	}
	w.volume = device(info)
	w.block, err = unix.Mmap(-1, 0, blockSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("map memory: %w", err)
	}
	return w, nil
}

// run writes until ctx ends.
func (w *deadWriter) run(ctx context.Context) {
	defer close(w.ended)
	ticker := time.NewTicker(writeEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		w.attempt(w.write)
	}
}

func (w *deadWriter) attempt(write func(attempt int) error) {
	w.attempts++
	began := time.Now()
	if w.failure = write(w.attempts); w.failure == nil {
		w.acknowledged, w.last = append(w.acknowledged, w.attempts), began
	}
}

// write opens the file anew each time, as the file system could otherwise not be unmounted.
func (w *deadWriter) write(attempt int) (err error) {
	if attempt > deadBlocks {
		return errFull
	}
	file, err := os.OpenFile(w.path, os.O_WRONLY|unix.O_DIRECT|unix.O_DSYNC, 0)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("stat: %w", err)
	}
	if device(info) != w.volume {
		return errOtherDevice
	}
	binary.BigEndian.PutUint64(w.block, uint64(attempt)) //nolint:gosec // attempts count from 1
	if _, err := file.WriteAt(w.block, int64(attempt-1)*blockSize); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// judge compares what the dead node wrote with what is on the disk, which is mounted elsewhere at folder now. Every
// acknowledged block must be there, and none of a later attempt but the next one, which was under way when the access
// ended. An attempt that began before the access was revoked may be told of its success later.
func (w *deadWriter) judge(folder string, revoked time.Time) error {
	content, err := os.ReadFile(filepath.Join(folder, deadFileName)) //nolint:gosec // the folder is the run's own
	if err != nil {
		return fmt.Errorf("read from the volume: %w", err)
	}
	switch {
	case len(w.acknowledged) == 0:
		return fmt.Errorf("%w: the first node never wrote, last failure: %w", errEvidence, w.failure)
	case w.failure == nil:
		return fmt.Errorf("%w: the first node still writes", errEvidence)
	case w.last.After(revoked):
		return fmt.Errorf("%w: the first node began a write %s after its access was revoked, and the disk took it", errEvidence, w.last.Sub(revoked))
	}
	lost, late := w.differences(content)
	if len(lost) > 0 || len(late) > 0 {
		return fmt.Errorf("%w: of %d blocks of the first node that the disk acknowledged, it doesn't have %v; it has %v, which came too late",
			errEvidence, len(w.acknowledged), lost, late)
	}
	return nil
}

// differences lists the acknowledged attempts whose block isn't in the file's content, and those whose block is there
// though they began after the one that was under way.
func (w *deadWriter) differences(content []byte) (lost, late []int) {
	written := func(attempt int) bool {
		end := attempt * blockSize
		return end <= len(content) && binary.BigEndian.Uint64(content[end-blockSize:]) == uint64(attempt) //nolint:gosec // attempts count from 1
	}
	for _, attempt := range w.acknowledged {
		if !written(attempt) {
			lost = append(lost, attempt)
		}
	}
	underWay := w.acknowledged[len(w.acknowledged)-1] + 1
	for attempt := underWay + 1; attempt <= w.attempts; attempt++ {
		if written(attempt) {
			late = append(late, attempt)
		}
	}
	return lost, late
}

// cause is the kernel's word for a failure, if it was the kernel's, without the long path that it concerns.
func cause(err error) string {
	if number, ok := errors.AsType[syscall.Errno](err); ok {
		return number.Error()
	}
	return err.Error()
}
