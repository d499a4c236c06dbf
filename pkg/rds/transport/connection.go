package transport

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

// errRetired says that a connection takes no new commands. The command has to go to another one.
var errRetired = errors.New("the connection takes no new commands")

// errNoChannel says that the appliance refused a channel, or didn't answer.
var errNoChannel = errors.New("no channel")

// errEnded says that the connection ended while something was waited for.
var errEnded = errors.New("the connection ended")

// connection is one SSH connection. It begins as the current one. Once anything on it failed or timed out, it is retired:
// new commands go to a fresh connection. Those in flight may end on the old one, and then it is closed. That happens
// within execTimeout, since no command may take longer.
type connection struct {
	client *ssh.Client
	gate   *gate
	// turn lets one goroutine at a time open a channel. An RDS was seen to hang when many were opened at once.
	turn chan struct{}
	// retired is closed when the connection takes no new commands, ended when it has ended; either may come first.
	retired, ended chan struct{}

	// The mutex of SSH guards the rest.

	users int
	// proven means that a channel was opened. An appliance that accepts the login and hangs up counts as unreachable.
	proven bool
}

func newConnection(client *ssh.Client, gate *gate) *connection {
	return &connection{client: client, gate: gate, turn: make(chan struct{}, 1), retired: make(chan struct{}), ended: make(chan struct{})}
}

// open opens a channel, one at a time. Whatever the error, nothing was sent: errRetired means that the caller has to try
// another connection, errEnded that it may. After errNoChannel there may be one when another command has ended.
func (c *connection) open(ctx context.Context) (*ssh.Session, error) {
	select {
	case <-c.retired:
		return nil, errRetired
	case <-ctx.Done():
		return nil, ctx.Err()
	case c.turn <- struct{}{}:
	}
	select {
	case <-c.retired:
		// The goroutine whose turn it was before, or another one, retired the connection meanwhile.
		<-c.turn
		return nil, errRetired
	default:
	}
	type opened struct {
		channel *ssh.Session
		err     error
	}
	result := make(chan opened, 1)
	// A request that isn't answered keeps this goroutine until the connection is closed: it can't be cancelled.
	go func() {
		defer func() { <-c.turn }()
		defer c.gate.asked()
		if !c.gate.ask() {
			result <- opened{nil, io.EOF}
			return
		}
		channel, err := c.client.NewSession()
		result <- opened{channel, err}
	}()
	timer := time.NewTimer(openTimeout)
	defer timer.Stop()
	select {
	case got := <-result:
		if rejected := (*ssh.OpenChannelError)(nil); got.err != nil && !errors.As(got.err, &rejected) {
			return nil, fmt.Errorf("%w: %w", errEnded, got.err)
		}
		if got.err != nil {
			return nil, fmt.Errorf("%w: %w", errNoChannel, got.err)
		}
		return got.channel, nil
	case <-c.ended:
		return nil, errEnded
	case <-timer.C:
		return nil, fmt.Errorf("%w: no answer in %s", errNoChannel, openTimeout)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
