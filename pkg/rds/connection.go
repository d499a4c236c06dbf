package rds

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/crypto/ssh"
)

// openTimeout bounds opening a channel: an appliance with too many of them leaves the request unanswered.
const openTimeout = 10 * time.Second

// errRetired says that a connection takes no new commands: the command has to go to another one.
var errRetired = errors.New("the connection takes no new commands")

// errEnded says that the connection ended while something was waited for.
var errEnded = errors.New("the connection ended")

// connection is one SSH connection. It begins as the session's current one; once anything on it failed or timed out it
// is retired: new commands go to a fresh one, those in flight may end on it, and then it is closed. That happens within
// execTimeout, since no command may take longer.
type connection struct {
	client *ssh.Client
	gate   *gate
	// turn is held by whoever opens a channel: an RDS was seen to hang when many were opened at once.
	turn chan struct{}
	// retired and ended are closed, in whatever order.
	retired, ended chan struct{}

	// The rest is guarded by the session's mutex.

	users int
	// proven: a channel was opened. An appliance that logs one in and then hangs up is as good as unreachable.
	proven bool
}

func newConnection(client *ssh.Client, gate *gate) *connection {
	return &connection{client: client, gate: gate, turn: make(chan struct{}, 1), retired: make(chan struct{}), ended: make(chan struct{})}
}

// open opens a channel, one at a time. errRetired means that this has to be tried on another connection, errEnded that it
// may be: nothing was sent.
func (s *session) open(ctx context.Context, conn *connection) (*ssh.Session, error) {
	select {
	case <-conn.retired:
		return nil, errRetired
	case <-ctx.Done():
		return nil, ctx.Err()
	case conn.turn <- struct{}{}:
	}
	select {
	case <-conn.retired:
		// It was retired while the turn was waited for, or by the one whose turn it was.
		<-conn.turn
		return nil, errRetired
	default:
	}
	type opened struct {
		channel *ssh.Session
		err     error
	}
	result := make(chan opened, 1)
	// What isn't answered stays in this goroutine until the connection is closed: there is no taking it back.
	go func() {
		defer func() { <-conn.turn }()
		defer conn.gate.asked()
		if !conn.gate.ask() {
			result <- opened{nil, io.EOF}
			return
		}
		channel, err := conn.client.NewSession()
		result <- opened{channel, err}
	}()
	timer := time.NewTimer(openTimeout)
	defer timer.Stop()
	select {
	case got := <-result:
		if rejected := (*ssh.OpenChannelError)(nil); got.err != nil && !errors.As(got.err, &rejected) {
			return nil, fmt.Errorf("%w: %w", errEnded, got.err)
		}
		return got.channel, got.err
	case <-conn.ended:
		return nil, errEnded
	case <-timer.C:
		return nil, fmt.Errorf("no answer in %s", openTimeout)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
