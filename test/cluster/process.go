package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// command is a program to start. Its name is unique in a run: the log file carries it.
type command struct {
	name string
	path string
	args []string
}

// process is a started program.
type process struct {
	record
	log string
	// ended is closed when the process is gone and was waited for.
	ended <-chan struct{}
}

// start runs a program in a session of its own, so that a terminal's Ctrl-C reaches us alone and we end our processes
// in order, and lists it in the ledger.
func (f runFolder) start(ctx context.Context, c command) (*process, error) {
	log, err := os.OpenFile(f.log(c.name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", c.name, err)
	}
	defer func() { _ = log.Close() }() // the process has its own copy
	// The process outlives the context: it is ended through the ledger.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), c.path, c.args...) //nolint:gosec // the harness exists to run the programs it was given
	cmd.Dir = string(f)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.name, err)
	}
	// Until it is waited for, its entry in /proc stays, even if it has ended already.
	started, _, err := processStat(cmd.Process.Pid)
	if err == nil {
		err = f.ledger().add(record{Name: c.name, PID: cmd.Process.Pid, Started: started})
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", c.name, err), cmd.Process.Kill(), cmd.Wait())
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // how it ended stands in its log
	}()
	return &process{record: record{Name: c.name, PID: cmd.Process.Pid, Started: started}, log: f.log(c.name), ended: ended}, nil
}

// handle is a hold on one running process that can't come to mean another one.
type handle struct {
	record
	descriptor int
}

// hold returns nil if the process has ended.
func (r record) hold() (*handle, error) {
	descriptor, err := unix.PidfdOpen(r.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("hold process %s (%d): %w", r.Name, r.PID, err)
	}
	// The descriptor is taken before the look, so what is looked at is what will be signalled.
	if !r.alive() {
		return nil, unix.Close(descriptor)
	}
	return &handle{record: r, descriptor: descriptor}, nil
}

func (h *handle) signal(signal syscall.Signal) error {
	if err := unix.PidfdSendSignal(h.descriptor, signal, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("send %s to %s (%d): %w", signal, h.Name, h.PID, err)
	}
	return nil
}

// wait reports whether the process ended within limit.
func (h *handle) wait(limit time.Duration) (bool, error) {
	deadline := time.Now().Add(limit)
	for {
		left := max(time.Until(deadline), 0)
		ready, err := unix.Poll([]unix.PollFd{{Fd: int32(h.descriptor), Events: unix.POLLIN}}, int(left.Milliseconds())) //nolint:gosec // descriptors are small
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return false, fmt.Errorf("wait for %s (%d) to end: %w", h.Name, h.PID, err)
		}
		return ready > 0, nil
	}
}

func (h *handle) release() { _ = unix.Close(h.descriptor) }

// end terminates the process, asking first. It returns when the process is gone, or an error after both bounds.
func (r record) end(asked, killed time.Duration) error {
	h, err := r.hold()
	if h == nil || err != nil {
		return err
	}
	defer h.release()
	if err := h.signal(syscall.SIGTERM); err != nil {
		return err
	}
	if gone, err := h.wait(asked); gone || err != nil {
		return err
	}
	return h.kill(killed)
}

func (h *handle) kill(limit time.Duration) error {
	if err := h.signal(syscall.SIGKILL); err != nil {
		return err
	}
	gone, err := h.wait(limit)
	if err != nil {
		return err
	}
	if !gone {
		return fmt.Errorf("%s (pid %d) still runs %s after SIGKILL: it is stuck in the kernel", h.Name, h.PID, limit)
	}
	return nil
}
