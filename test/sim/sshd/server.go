package sshd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// handshakeTimeout bounds how long a peer may take to authenticate.
const handshakeTimeout = 20 * time.Second

const (
	// DefaultMaxSessions is how many connections the appliance allows.
	DefaultMaxSessions = 20
	// DefaultWindow is the channel window of x/crypto/ssh in bytes.
	DefaultWindow = 2 << 20
)

var errUnknownKey = errors.New("unknown user, key or password")

// Server serves SSH on a listener.
type Server struct {
	options Options
	handler Handler
	// otherHostKey makes the key of OtherHostKey, once.
	otherHostKey func() (ssh.Signer, error)

	mu    sync.Mutex
	conns map[net.Conn]bool
	users map[*connection]Login
}

// New makes a server; Run starts it.
func New(options Options, handler Handler) *Server {
	if options.MaxSessions == 0 {
		options.MaxSessions = DefaultMaxSessions
	}
	if options.MaxChannels == 0 {
		options.MaxChannels = 8
	}
	if options.Window == 0 {
		options.Window = DefaultWindow
	}
	s := &Server{options: options, handler: handler, conns: map[net.Conn]bool{}, users: map[*connection]Login{}}
	s.otherHostKey = sync.OnceValues(func() (ssh.Signer, error) { return makeHostKey(options.HostKey.PublicKey()) })
	return s
}

// OtherHostKey is the key that connections with the trouble OtherHostKey see.
func (s *Server) OtherHostKey() (ssh.PublicKey, error) {
	signer, err := s.otherHostKey()
	if err != nil {
		return nil, err
	}
	return signer.PublicKey(), nil
}

func (s *Server) trouble() ConnectionTrouble {
	if s.options.Connection == nil {
		return NoConnectionTrouble
	}
	return s.options.Connection()
}

func (s *Server) channelTrouble() ChannelTrouble {
	if s.options.Channel == nil {
		return NoChannelTrouble
	}
	return s.options.Channel()
}

func (s *Server) authorize(meta ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
	for _, known := range s.options.Users[meta.User()] {
		if bytes.Equal(known.Marshal(), key.Marshal()) {
			return &ssh.Permissions{}, nil
		}
	}
	return nil, errUnknownKey
}

func (s *Server) authorizePassword(meta ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
	expected, known := s.options.Passwords[meta.User()]
	if !known || len(s.options.Users[meta.User()]) > 0 || string(password) != expected {
		return nil, errUnknownKey
	}
	return &ssh.Permissions{}, nil
}

// Run serves connections of l until ctx ends; then it closes l, drops every
// connection and returns nil once everything it started is over.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() {
		<-ctx.Done()
		_ = l.Close()
		s.DropConnections()
	})
	for {
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("accept SSH connection: %w", err)
		}
		running.Go(func() {
			s.serve(ctx, conn)
		})
	}
}

// DropConnections cuts every TCP connection; new ones are accepted.
func (s *Server) DropConnections() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.conns {
		_ = conn.Close()
	}
}

// add counts a connection and reports whether it is within the cap.
func (s *Server) add(ctx context.Context, conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns[conn] = true
	if ctx.Err() != nil {
		_ = conn.Close()
	}
	return len(s.conns) <= s.options.MaxSessions
}

func (s *Server) forget(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, conn)
}
