package tcp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// ErrUnreachable says that there is no connection to a target: nobody answers at the address, what answers ends the connection,
// or doesn't speak NVMe/TCP.
var ErrUnreachable = errors.New("the NVMe/TCP target can't be reached")

// RefusedError says that the target answered, and doesn't let the host in.
type RefusedError struct {
	// Status is the NVMe status code with its type and its flags, as the Linux kernel logs it in hexadecimal.
	Status uint16
}

// The refusals that are told apart, of the Connect command in the NVM Express Base Specification.
const (
	statusInvalidParameter = 0x182
	statusInvalidHost      = 0x184
	// statusCode is the part of a status that says what happened: its code and the code's type.
	statusCode = 0x7ff
)

func (e *RefusedError) Error() string {
	switch e.Status & statusCode {
	case statusInvalidParameter:
		return fmt.Sprintf("the target has no such subsystem (status %#x)", e.Status)
	case statusInvalidHost:
		return fmt.Sprintf("the target doesn't admit this host (status %#x)", e.Status)
	default:
		return fmt.Sprintf("the target refuses (status %#x)", e.Status)
	}
}

// Connection is the admin queue of one controller. It is safe for concurrent use.
type Connection struct {
	conn  net.Conn
	ended chan struct{}
	// at is when the target ended the connection. It is valid once ended is closed.
	at time.Time
}

// Connect opens an admin queue at a target, a host and a port, as the host with this NQN. The connection stays until the
// target ends it or Close is called. ctx bounds the time until then.
//
// Errors: *RefusedError, or ErrUnreachable.
func Connect(ctx context.Context, address, subsystemNQN, hostNQN string) (*Connection, error) {
	for _, nqn := range []string{subsystemNQN, hostNQN} {
		if len(nqn) > maxNQN {
			return nil, fmt.Errorf("NQN %q: want at most %d bytes", nqn, maxNQN)
		}
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	// The end of ctx unblocks what is read and written.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })
	err = open(conn, subsystemNQN, hostNQN)
	if !stop() && err == nil {
		err = fmt.Errorf("%w: %w", ErrUnreachable, context.Cause(ctx))
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	c := &Connection{conn: conn, ended: make(chan struct{})}
	go c.watch()
	return c, nil
}

// open does what the protocol wants until the queue is open.
func open(conn net.Conn, subsystemNQN, hostNQN string) error {
	response, err := func() ([]byte, error) {
		if _, err := conn.Write(initializeRequest()); err != nil {
			return nil, err
		}
		if _, err := expect(conn, pduInitializeResponse, initializeSize); err != nil {
			return nil, err
		}
		if _, err := conn.Write(connectCommand(subsystemNQN, hostNQN)); err != nil {
			return nil, err
		}
		return expect(conn, pduResponse, responseSize)
	}()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	if status := status(response); status != 0 {
		return &RefusedError{Status: status}
	}
	return nil
}

// watch reads until the target ends the connection. It has nothing to say before.
func (c *Connection) watch() {
	_, _ = io.Copy(io.Discard, c.conn)
	c.at = time.Now()
	close(c.ended)
}

// Ended is closed when the connection is over: the target ended it, or Close was called.
func (c *Connection) Ended() <-chan struct{} { return c.ended }

// EndedAt returns when the connection was over. It may be called once Ended is closed.
func (c *Connection) EndedAt() time.Time { return c.at }

// Close ends the connection, and waits for it to be over.
func (c *Connection) Close() {
	_ = c.conn.Close()
	<-c.ended
}
