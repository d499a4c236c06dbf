package transport

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
	"k8s.io/klog/v2"
)

const (
	// execTimeout bounds one command where the caller's own deadline is later. Making a big file was seen to take seconds.
	execTimeout = 60 * time.Second
	// maxReply bounds what one command may print, in bytes. RouterOS loses what exceeds the window of 2 MiB, so more than
	// that comes from something else.
	maxReply = 4 << 20
)

// errClosed says that Close was called.
var errClosed = fmt.Errorf("%w: the client is closed", ErrUnreachable)

// SSH keeps one SSH connection to the appliance. It connects when it is first used (dial.go). After any failure it takes a
// new connection, since a connection that failed once says nothing reliable any more (connection.go). While the appliance
// is away, attempts to connect are spaced (backoff.go). It is safe for concurrent use.
type SSH struct {
	config  Config
	dialTCP func(ctx context.Context, address string) (net.Conn, error)
	// channels bounds the commands in flight.
	channels *channels
	dialing  singleflight.Group
	// life ends with Close, and every attempt to connect with it.
	life context.Context
	end  context.CancelFunc
	// running counts the goroutines. Each ends soon after its connection.
	running sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	current *connection
	conns   map[*connection]bool
	backoff backoff
	hostKey string
}

// NewSSH checks the configuration, reads the key files, and returns a transport that connects when it is first used.
// Errors are *FieldError.
func NewSSH(config Config) (*SSH, error) {
	if err := config.check(); err != nil {
		return nil, err
	}
	if _, err := readCredentials(config); err != nil {
		return nil, err
	}
	return newSSH(config.withDefaults()), nil
}

func newSSH(config Config) *SSH {
	life, end := context.WithCancel(context.Background())
	return &SSH{
		config: config, dialTCP: dialTCP, channels: newChannels(config.MaxChannels), life: life, end: end,
		conns: map[*connection]bool{}, backoff: backoff{first: config.ReconnectMin, limit: config.ReconnectMax},
	}
}

// String names the appliance and the user, for people.
func (s *SSH) String() string { return s.config.Address + " as " + s.config.User }

// Exec runs one line in a channel of its own and returns what it printed. ErrUnreachable means that the line was not
// sent. After any other error it may have run in part or in full.
func (s *SSH) Exec(ctx context.Context, line string) (string, error) {
	var output replyBuffer
	err := s.withChannel(ctx, func(channel *ssh.Session) error {
		channel.Stdout = &output
		// The exit status is 0 whatever happened. Only its absence means something: the reply was lost.
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

// withChannel opens a channel and runs work on it, all within execTimeout. It doesn't wait for work that outlives ctx:
// the results of such work must not be looked at. The connection is retired, which ends the work when the other commands
// on the connection have ended. Errors: ErrUnreachable (work wasn't begun), ErrIncomplete, or what work returned.
func (s *SSH) withChannel(ctx context.Context, work func(*ssh.Session) error) error {
	ctx, cancel := context.WithTimeout(ctx, execTimeout)
	defer cancel()
	conn, channel, err := s.takeChannel(ctx)
	if err != nil {
		return err
	}
	defer s.channels.putBack()
	defer s.putBack(conn)
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

// takeChannel opens a channel when one is free. If the appliance allows fewer than it was thought to, the command waits until
// another one has ended: nothing of it was sent. The caller has to put connection and channel back.
func (s *SSH) takeChannel(ctx context.Context) (*connection, *ssh.Session, error) {
	for {
		if err := s.channels.take(ctx); err != nil {
			return nil, nil, fmt.Errorf("%w: no free channel to %s: %w", ErrUnreachable, s.config.Address, err)
		}
		conn, channel, err := s.openChannel(ctx)
		if err == nil {
			return conn, channel, nil
		}
		others := 0
		if errors.Is(err, errNoChannel) {
			others = s.channels.full(time.Now())
		}
		s.channels.putBack()
		if others == 0 || ctx.Err() != nil {
			return nil, nil, err
		}
		klog.FromContext(ctx).Info("The appliance allows fewer channels at a time; going on with those", "channels", others, "reason", err.Error())
	}
}

// openChannel opens a channel on the current connection. It tries the next connection if this one was retired meanwhile,
// or ended since it last worked. The caller has to put the connection back.
func (s *SSH) openChannel(ctx context.Context) (*connection, *ssh.Session, error) {
	for {
		conn, err := s.acquire(ctx)
		if err != nil {
			return nil, nil, err
		}
		channel, err := conn.open(ctx)
		if err == nil {
			s.prove(conn)
			return conn, channel, nil
		}
		if rejected := (*ssh.OpenChannelError)(nil); errors.As(err, &rejected) && s.channels.shared() {
			// It is a matter of their number. The commands in flight, and this connection, are well.
			s.putBack(conn)
			return nil, nil, fmt.Errorf("%w: open a channel to %s: %w", ErrUnreachable, s.config.Address, err)
		}
		again := errors.Is(err, errRetired) || errors.Is(err, errEnded) && s.isProven(conn)
		err = fmt.Errorf("%w: open a channel to %s: %w", ErrUnreachable, s.config.Address, err)
		cause := err
		if ctx.Err() != nil {
			// The caller's impatience says nothing about the appliance.
			cause = nil
		}
		s.retire(conn, cause)
		s.putBack(conn)
		if !again {
			return nil, nil, err
		}
	}
}

// acquire returns the current connection, and makes one if there is none. Concurrent callers share one attempt.
func (s *SSH) acquire(ctx context.Context) (*connection, error) {
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

// take returns the current connection. It returns neither connection nor error if one has to be dialled.
func (s *SSH) take() (*connection, error) {
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

// putBack ends a command's use of a connection.
func (s *SSH) putBack(conn *connection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	conn.users--
	s.closeUnused(conn)
}

// connect makes a connection the current one. It has a deadline of its own: the first caller may give up while others
// still wait for the connection.
func (s *SSH) connect() error {
	if !s.begin() {
		return errClosed
	}
	defer s.running.Done()
	if conn, err := s.take(); conn != nil || err != nil {
		// An earlier attempt ended between the caller's look and this one.
		if conn != nil {
			s.putBack(conn)
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

// prove notes that the appliance opened a channel. Only then does it count as reached.
func (s *SSH) prove(conn *connection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	conn.proven = true
	s.backoff.succeeded()
}

func (s *SSH) isProven(conn *connection) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return conn.proven
}

// retire makes a connection take no new commands. cause says why the appliance is to blame; nil means that nobody knows.
// With a cause, a connection on which no channel was ever opened counts as a failed attempt to connect.
func (s *SSH) retire(conn *connection, cause error) {
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
	s.closeUnused(conn)
}

// closeUnused closes a retired connection that no command uses any more.
func (s *SSH) closeUnused(conn *connection) {
	if s.current != conn && conn.users == 0 {
		delete(s.conns, conn)
		_ = conn.client.Close()
	}
}

// begin counts one more goroutine, which has to end with running.Done. It returns false once the transport is closed.
func (s *SSH) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.running.Add(1)
	}
	return !s.closed
}

// start runs work in a goroutine that Close waits for. It returns false once the transport is closed.
func (s *SSH) start(work func()) bool {
	if !s.begin() {
		return false
	}
	go func() {
		defer s.running.Done()
		work()
	}()
	return true
}

// Close ends every connection and every attempt to connect, and returns when they have ended. Commands in flight fail.
// Later ones fail with ErrUnreachable.
func (s *SSH) Close() {
	s.mu.Lock()
	s.closed = true
	s.end()
	for conn := range s.conns {
		_ = conn.client.Close()
	}
	s.mu.Unlock()
	s.running.Wait()
}
