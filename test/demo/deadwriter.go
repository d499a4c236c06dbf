package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	deadFileName = "writes-of-the-first-node"
	writeEvery   = 100 * time.Millisecond
)

var errOtherDevice = errors.New("the volume isn't mounted any more")

// deadWriter is the program on the node that is lost: it goes on writing line after line into the volume, and each
// counts only once the disk confirmed it. After the node was shut out not one may get through.
type deadWriter struct {
	path   string
	volume uint64 // device of the volume's file system

	ended        chan struct{}
	attempts     int       // valid after ended
	acknowledged int       // valid after ended
	last         time.Time // of the last acknowledged write; valid after ended
	failure      error     // of the last attempt; valid after ended
}

// newDeadWriter makes the file in the volume that is mounted at folder.
func newDeadWriter(folder string) (*deadWriter, error) {
	w := &deadWriter{path: filepath.Join(folder, deadFileName), ended: make(chan struct{})}
	file, err := os.OpenFile(w.path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("write into the volume: %w", err)
	}
	info, err := file.Stat()
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return nil, fmt.Errorf("write into the volume: %w", err)
	}
	w.volume = device(info)
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
		w.attempts++
		if w.failure = w.write(); w.failure == nil {
			w.acknowledged, w.last = w.acknowledged+1, time.Now()
		}
	}
}

// write opens the file anew each time, as the file system could otherwise not be unmounted.
func (w *deadWriter) write() (err error) {
	file, err := os.OpenFile(w.path, os.O_APPEND|os.O_WRONLY, 0)
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
	if _, err := file.WriteString("a line\n"); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if err := file.Sync(); err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	return nil
}

// judge compares what the dead node wrote with what is on the disk, which is mounted elsewhere at folder now. Every
// acknowledged line must be there. At most one more may be: the one that was under way when the access ended.
func (w *deadWriter) judge(folder string, revoked time.Time) error {
	content, err := os.ReadFile(filepath.Join(folder, deadFileName)) //nolint:gosec // the folder is the run's own
	if err != nil {
		return fmt.Errorf("read from the volume: %w", err)
	}
	lines := bytes.Count(content, []byte("\n"))
	switch {
	case w.acknowledged == 0:
		return fmt.Errorf("%w: the first node never wrote, last failure: %w", errEvidence, w.failure)
	case w.failure == nil:
		return fmt.Errorf("%w: the first node still writes", errEvidence)
	case w.last.After(revoked):
		return fmt.Errorf("%w: the first node wrote %s after its access was revoked", errEvidence, w.last.Sub(revoked))
	case lines < w.acknowledged || lines > w.acknowledged+1:
		return fmt.Errorf("%w: the disk acknowledged %d lines of the first node and has %d", errEvidence, w.acknowledged, lines)
	}
	return nil
}

// cause is the kernel's word for a failure, if it was the kernel's, without the long path that it concerns.
func cause(err error) string {
	if number, ok := errors.AsType[syscall.Errno](err); ok {
		return number.Error()
	}
	return err.Error()
}
