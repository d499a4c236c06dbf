package sshd

import (
	"context"
	"io"

	"golang.org/x/crypto/ssh"
)

// Subsystem serves one channel until its client is done; the channel fails
// when the connection ends.
type Subsystem func(ctx context.Context, channel io.ReadWriteCloser)

// subsystem is what a request asks for, nil if it is something else or refused.
func (c *connection) subsystem(request *ssh.Request) Subsystem {
	var wanted struct{ Name string }
	if request.Type != "subsystem" || c.server.options.Subsystem == nil || ssh.Unmarshal(request.Payload, &wanted) != nil {
		return nil
	}
	return c.server.options.Subsystem(c.user, wanted.Name)
}
