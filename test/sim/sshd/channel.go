package sshd

import (
	"context"
	"io"
	"time"

	"golang.org/x/crypto/ssh"
)

// session serves one channel: the first exec or subsystem on it, and nothing
// else. gone is closed when the connection ended.
func (c *connection) session(ctx context.Context, opened ssh.NewChannel, gone <-chan struct{}) {
	channel, requests, err := opened.Accept()
	if err != nil {
		return
	}
	defer func() { _ = channel.Close() }()
	for request := range requests {
		if serve := c.subsystem(request); serve != nil {
			_ = request.Reply(true, nil)
			go ssh.DiscardRequests(requests)
			serve(ctx, channel)
			return
		}
		if request.Type != "exec" {
			c.refuse(request)
			continue
		}
		var exec struct{ Command string }
		if ssh.Unmarshal(request.Payload, &exec) != nil {
			_ = request.Reply(false, nil)
			return
		}
		_ = request.Reply(true, nil)
		go ssh.DiscardRequests(requests)
		c.answer(channel, c.server.handler.Exec(ctx, c.user, exec.Command), gone)
		return
	}
}

// refuse answers what is not an exec: a terminal is granted and ignored.
func (c *connection) refuse(request *ssh.Request) {
	if request.WantReply {
		_ = request.Reply(request.Type == "pty-req" || request.Type == "shell", nil)
	}
}

// answer sends a reply the way its ending says. Write errors mean that the
// client left; there is nobody to tell.
func (c *connection) answer(channel ssh.Channel, reply Reply, gone <-chan struct{}) {
	if reply.Ending == EndHang {
		<-gone
		return
	}
	if reply.Delay > 0 {
		timer := time.NewTimer(reply.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-gone:
			return
		}
	}
	_, err := io.WriteString(channel, reply.Output[:min(len(reply.Output), c.server.options.Window)])
	if reply.Ending == EndDrop || err != nil {
		_ = c.tcp.Close()
		return
	}
	_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{0}))
	_ = channel.CloseWrite()
}
