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
	// dialTimeout bounds reaching the appliance and the SSH handshake, which takes 200-500 ms on an RDS2216.
	dialTimeout = 10 * time.Second
	// execTimeout bounds one command where the caller's own deadline is later. Making a big file was seen to take seconds.
	execTimeout = 60 * time.Second
	// maxChannels bounds the commands in flight: an RDS was seen to hang when 19 channels were opened at once, and
	// another RouterOS to serve 8 for months.
	maxChannels = 4
)

// errIncomplete says that a command was sent and may have run, but that its reply is missing or can't be understood.
var errIncomplete = errors.New("the reply is incomplete")

// session keeps one SSH connection to the appliance, dials it when it's needed, and drops it after any failure, since
// a connection that failed once says nothing reliable any more. It is safe for concurrent use.
type session struct {
	address  string
	config   *ssh.ClientConfig
	channels chan struct{}
	dialing  singleflight.Group

	mu     sync.Mutex
	client *ssh.Client
	closed bool
}

func newSession(address string, config *ssh.ClientConfig) *session {
	return &session{address: address, config: config, channels: make(chan struct{}, maxChannels)}
}

// exec runs one line and returns what it printed. An error that is ErrUnreachable means that the line was not sent; any
// other error that it may have run in part or in full.
func (s *session) exec(ctx context.Context, line string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, execTimeout)
	defer cancel()
	select {
	case s.channels <- struct{}{}:
		defer func() { <-s.channels }()
	case <-ctx.Done():
		return "", fmt.Errorf("%w: no free channel to %s: %w", ErrUnreachable, s.address, ctx.Err())
	}
	client, err := s.connect(ctx)
	if err != nil {
		return "", err
	}
	result := make(chan execResult, 1)
	go func() { result <- runLine(client, line) }()
	select {
	case done := <-result:
		if done.err != nil {
			s.drop(client)
		}
		return done.output, done.err
	case <-ctx.Done():
		// Opening a channel or waiting for its end can block for ever; closing the connection ends either.
		s.drop(client)
		<-result
		return "", fmt.Errorf("%w: %w", errIncomplete, ctx.Err())
	}
}

type execResult struct {
	output string
	err    error
}

func runLine(client *ssh.Client, line string) execResult {
	channel, err := client.NewSession()
	if err != nil {
		return execResult{err: fmt.Errorf("%w: open a channel: %w", ErrUnreachable, err)}
	}
	defer func() { _ = channel.Close() }()
	var output bytes.Buffer
	channel.Stdout = &output
	// The exit status is 0 whatever happened; only its absence means something, namely that the reply was lost.
	if err := channel.Run(line); err != nil {
		if exit := (*ssh.ExitError)(nil); !errors.As(err, &exit) {
			return execResult{err: fmt.Errorf("%w: %w", errIncomplete, err)}
		}
	}
	return execResult{output: output.String()}
}

// connect returns the kept connection or makes one; callers that come at the same time share one attempt.
func (s *session) connect(ctx context.Context) (*ssh.Client, error) {
	if client, err := s.current(); client != nil || err != nil {
		return client, err
	}
	attempt := s.dialing.DoChan("dial", func() (any, error) { return s.dial() })
	select {
	case result := <-attempt:
		if result.Err != nil {
			return nil, result.Err
		}
		client, ok := result.Val.(*ssh.Client)
		if !ok {
			return nil, fmt.Errorf("%w: the dialler gave a %T", ErrUnreachable, result.Val)
		}
		return client, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: connect to %s: %w", ErrUnreachable, s.address, ctx.Err())
	}
}

func (s *session) current() (*ssh.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, fmt.Errorf("%w: the client is closed", ErrUnreachable)
	}
	return s.client, nil
}

// dial has a deadline of its own: the caller that began it may give up while others still wait for it.
func (s *session) dial() (*ssh.Client, error) {
	if client, err := s.current(); client != nil || err != nil {
		return client, err
	}
	dialer := net.Dialer{Timeout: dialTimeout, KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}}
	conn, err := dialer.Dial("tcp", s.address)
	if err != nil {
		return nil, fmt.Errorf("%w: connect to %s: %w", ErrUnreachable, s.address, err)
	}
	client, err := s.handshake(conn)
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("%w: SSH to %s as %q: %w", ErrUnreachable, s.address, s.config.User, err)
	}
	return client, s.keep(client)
}

func (s *session) handshake(conn net.Conn) (*ssh.Client, error) {
	if err := conn.SetDeadline(time.Now().Add(dialTimeout)); err != nil {
		return nil, err
	}
	sshConn, channels, requests, err := ssh.NewClientConn(conn, s.address, s.config)
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return nil, err
	}
	return ssh.NewClient(sshConn, channels, requests), nil
}

func (s *session) keep(client *ssh.Client) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = client.Close()
		return fmt.Errorf("%w: the client is closed", ErrUnreachable)
	}
	s.client = client
	return nil
}

// drop closes a connection that failed, unless a newer one has taken its place already.
func (s *session) drop(client *ssh.Client) {
	s.mu.Lock()
	if s.client == client {
		s.client = nil
	}
	s.mu.Unlock()
	_ = client.Close()
}

// close ends the connection; later commands fail with ErrUnreachable.
func (s *session) close() {
	s.mu.Lock()
	s.closed = true
	client := s.client
	s.client = nil
	s.mu.Unlock()
	if client != nil {
		_ = client.Close()
	}
}
