package nvmetcp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/export"
)

// openTimeout bounds how long an initiator may take to open its queue.
const openTimeout = 20 * time.Second

// Options are the ways in which a target may be weak.
type Options struct {
	// KeepConnections leaves connections open when their subsystem is taken away.
	KeepConnections bool
	// EndDelay is how long after that they end.
	EndDelay time.Duration
	// AnyName lets a host in under every subsystem NQN.
	AnyName bool
}

// Server serves initiators on a listener.
type Server struct {
	options Options
	exports *export.Registry
}

// New makes a server; Run starts it.
func New(options Options, exports *export.Registry) *Server {
	return &Server{options: options, exports: exports}
}

// Run serves l until ctx ends; then it closes l, drops every connection and
// returns nil once everything it started is over.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	for {
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("accept NVMe/TCP connection: %w", err)
		}
		running.Go(func() {
			defer func() { _ = conn.Close() }()
			defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
			s.serve(ctx, conn)
		})
	}
}

// serve opens the queue, and keeps the connection until either side ends it.
func (s *Server) serve(ctx context.Context, conn net.Conn) {
	_ = conn.SetDeadline(time.Now().Add(openTimeout))
	if !s.exports.Listens() || acceptInitialize(conn) != nil {
		return
	}
	command, err := readConnect(conn)
	if err != nil {
		return
	}
	session, err := s.exports.Connect(command.subsystem, command.host)
	switch {
	case s.options.AnyName && errors.Is(err, export.ErrRefused):
		_ = respond(conn, command.id, 0)
		_, _ = io.Copy(io.Discard, conn)
		return
	case errors.Is(err, export.ErrNotAllowed):
		_ = respond(conn, command.id, statusNotAllowed)
		return
	case err != nil:
		_ = respond(conn, command.id, statusNoSubsystem)
		return
	}
	defer s.exports.End(session.ID)
	_ = conn.SetDeadline(time.Time{})
	if respond(conn, command.id, 0) == nil {
		s.hold(ctx, conn, session)
	}
}

// hold waits until the connection is over.
func (s *Server) hold(ctx context.Context, conn net.Conn, session *export.Session) {
	left := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, conn)
		close(left)
	}()
	defer func() {
		_ = conn.Close()
		<-left
	}()
	select {
	case <-left:
		return
	case <-session.Lost():
		return
	case <-session.Ended():
		return
	case <-session.Revoked():
	}
	s.exports.End(session.ID)
	delay := s.options.EndDelay
	if s.options.KeepConnections {
		delay = time.Hour
	}
	select {
	case <-left:
	case <-time.After(delay):
	case <-ctx.Done():
	}
}
