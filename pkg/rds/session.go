package rds

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sync/singleflight"
)

const (
	// execTimeout bounds one command where the caller's own deadline is later. Making a big file was seen to take seconds.
	execTimeout = 60 * time.Second
	// maxReply bounds what one command may print, in bytes. RouterOS loses what exceeds the window of 2 MiB, so more than
	// that comes from something else.
	maxReply = 4 << 20
)

// errClosed says that the client was closed.
var errClosed = fmt.Errorf("%w: the client is closed", ErrUnreachable)

// session keeps one SSH connection to the appliance (dial.go), dials it when it's needed, and replaces it after any
// failure (connection.go), since a connection that failed once says nothing reliable any more. While the appliance is
// away, attempts to reach it are spaced (backoff.go). It is safe for concurrent use.
type session struct {
	config  Config
	dialTCP func(ctx context.Context, address string) (net.Conn, error)
	slots   chan struct{}
	dialing singleflight.Group
	// life ends with close, and every attempt to connect with it.
	life context.Context
	end  context.CancelFunc
	// running counts the goroutines; each ends soon after its connection.
	running sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	current *connection
	conns   map[*connection]bool
	backoff backoff
	hostKey string
}

// newSession gives a session that connects when it's first used. The config is complete.
func newSession(config Config) *session {
	life, end := context.WithCancel(context.Background())
	return &session{
		config: config, dialTCP: dialTCP, slots: make(chan struct{}, config.MaxChannels), life: life, end: end,
		conns: map[*connection]bool{}, backoff: backoff{first: config.ReconnectMin, limit: config.ReconnectMax},
	}
}

// exec runs one line and returns what it printed. An error that is ErrUnreachable means that the line was not sent; any
// other error that it may have run in part or in full.
func (s *session) exec(ctx context.Context, line string) (string, error) {
	var output replyBuffer
	err := s.use(ctx, func(channel *ssh.Session) error {
		channel.Stdout = &output
		// The exit status is 0 whatever happened; only its absence means something, namely that the reply was lost.
		err := channel.Run(line)
		if exit := (*ssh.ExitError)(nil); err == nil || errors.As(err, &exit) && exit.Signal() == "" {
			return nil
		}
		return fmt.Errorf("%w: %w", ErrIncomplete, err)
	})
	if err != nil {
		return "", err
	}
	return output.taken.String(), nil
}

// replyBuffer takes no more than maxReply.
type replyBuffer struct{ taken bytes.Buffer }

// Write fails once there's too much.
func (b *replyBuffer) Write(data []byte) (int, error) {
	if b.taken.Len()+len(data) > maxReply {
		return 0, fmt.Errorf("it is longer than %d bytes", maxReply)
	}
	return b.taken.Write(data)
}

// use opens a channel and has work done on it, all within execTimeout. Work that outlives ctx is left to itself: its
// connection is retired, which ends it at the latest when the other commands on it have ended, and its results must not
// be looked at. Errors: ErrUnreachable (work wasn't begun), ErrIncomplete, or what work returned.
func (s *session) use(ctx context.Context, work func(*ssh.Session) error) error {
	ctx, cancel := context.WithTimeout(ctx, execTimeout)
	defer cancel()
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return fmt.Errorf("%w: no free channel to %s: %w", ErrUnreachable, s.config.Address, ctx.Err())
	}
	conn, channel, err := s.channel(ctx)
	if err != nil {
		return err
	}
	defer s.release(conn)
	done := make(chan error, 1)
	started := s.start(func() {
		defer func() { _ = channel.Close() }()
		done <- work(channel)
	})
	if !started {
		return errClosed
	}
	select {
	case err := <-done:
		if errors.Is(err, ErrIncomplete) {
			s.retire(conn, nil)
		}
		return err
	case <-ctx.Done():
		s.retire(conn, nil)
		return fmt.Errorf("%w: %w", ErrIncomplete, ctx.Err())
	}
}

// channel opens a channel on the current connection, or on the next one if that is retired meanwhile, or turns out to
// have ended since it was last of use. The caller has to release the connection.
func (s *session) channel(ctx context.Context) (*connection, *ssh.Session, error) {
	for {
		conn, err := s.acquire(ctx)
		if err != nil {
			return nil, nil, err
		}
		channel, err := s.open(ctx, conn)
		if err == nil {
			s.prove(conn)
			return conn, channel, nil
		}
		again := errors.Is(err, errRetired) || errors.Is(err, errEnded) && s.isProven(conn)
		err = fmt.Errorf("%w: open a channel to %s: %w", ErrUnreachable, s.config.Address, err)
		cause := err
		if ctx.Err() != nil {
			// The caller's impatience says nothing about the appliance.
			cause = nil
		}
		s.retire(conn, cause)
		s.release(conn)
		if !again {
			return nil, nil, err
		}
	}
}

// acquire gives the current connection, made if there is none; callers that come at the same time share one attempt.
func (s *session) acquire(ctx context.Context) (*connection, error) {
	for {
		if conn, err := s.take(); conn != nil || err != nil {
			return conn, err
		}
		attempt := s.dialing.DoChan("", func() (any, error) { return nil, s.connect() }) //nolint:contextcheck // others wait for it too, so it must outlive this caller
		select {
		case result := <-attempt:
			if result.Err != nil {
				return nil, result.Err
			}
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: connect to %s: %w", ErrUnreachable, s.config.Address, ctx.Err())
		}
	}
}

// take gives neither connection nor error if one has to be dialled.
func (s *session) take() (*connection, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errClosed
	}
	if s.current != nil {
		s.current.users++
		return s.current, nil
	}
	return nil, s.backoff.refuse(time.Now())
}

// connect makes a connection the current one. It has a deadline of its own: the caller that began it may give up while
// others still wait for it.
func (s *session) connect() error {
	if !s.begin() {
		return errClosed
	}
	defer s.running.Done()
	if conn, err := s.take(); conn != nil || err != nil {
		// An earlier attempt ended between the caller's look and this one.
		if conn != nil {
			s.release(conn)
		}
		return err
	}
	ctx, cancel := context.WithTimeout(s.life, s.config.ConnectTimeout)
	defer cancel()
	conn, err := s.dial(ctx)
	s.config.ObserveConnect(connectResultOf(err))
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.backoff.failed(time.Now(), err)
		return err
	}
	if s.closed {
		_ = conn.client.Close()
		return errClosed
	}
	s.current, s.conns[conn] = conn, true
	s.config.ObserveConnected(true)
	s.running.Go(func() {
		err := conn.client.Wait()
		close(conn.ended)
		s.retire(conn, fmt.Errorf("%w: %s ended the connection: %w", ErrUnreachable, s.config.Address, err))
	})
	return nil
}

// prove notes that the appliance opened a channel, which is when it counts as reached.
func (s *session) prove(conn *connection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	conn.proven = true
	s.backoff.succeeded()
}

func (s *session) isProven(conn *connection) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return conn.proven
}

// retire makes a connection take no new commands. cause is why the appliance is to blame, or nil if nobody knows: a
// connection that never proved to be of use counts as a failed attempt then.
func (s *session) retire(conn *connection, cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == conn {
		s.current = nil
		close(conn.retired)
		s.config.ObserveConnected(false)
		if cause != nil && !conn.proven && !s.closed {
			s.backoff.failed(time.Now(), cause)
		}
	}
	s.sweep(conn)
}

// release ends a command's use of a connection.
func (s *session) release(conn *connection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	conn.users--
	s.sweep(conn)
}

// sweep closes a retired connection that nobody uses any more.
func (s *session) sweep(conn *connection) {
	if s.current != conn && conn.users == 0 {
		delete(s.conns, conn)
		_ = conn.client.Close()
	}
}

// begin counts one more goroutine, which has to end with running.Done. It reports false once the session is closed.
func (s *session) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.running.Add(1)
	}
	return !s.closed
}

// start runs work in a goroutine that close waits for. It reports false once the session is closed.
func (s *session) start(work func()) bool {
	if !s.begin() {
		return false
	}
	go func() {
		defer s.running.Done()
		work()
	}()
	return true
}

// close ends every connection and every attempt to make one, and returns when that is done. Commands in flight fail,
// later ones do with ErrUnreachable.
func (s *session) close() {
	s.mu.Lock()
	s.closed = true
	s.end()
	for conn := range s.conns {
		_ = conn.client.Close()
	}
	s.mu.Unlock()
	s.running.Wait()
}
