package sshd

import (
	"context"
	"net"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
	"k8s.io/klog/v2"
)

// connection is one authenticated SSH connection.
type connection struct {
	server *Server
	tcp    net.Conn
	user   string

	mu       sync.Mutex
	channels int
}

// serve handles one TCP connection until it ends.
func (s *Server) serve(ctx context.Context, tcp net.Conn) {
	within := s.add(ctx, tcp)
	// Only now: who wants trouble drops the connections that are added already.
	trouble := s.trouble()
	defer s.forget(tcp)
	defer func() { _ = tcp.Close() }()
	if !within && s.options.SessionLimit == LimitEarly {
		return
	}
	if !s.begin(ctx, tcp, trouble) {
		return
	}
	config, err := s.configure(trouble)
	if err != nil {
		klog.FromContext(ctx).Error(err, "The simulator itself failed")
		return
	}
	if err := tcp.SetDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return
	}
	conn, channels, requests, err := ssh.NewServerConn(tcp, config)
	if err != nil {
		return
	}
	if err := tcp.SetDeadline(time.Time{}); err != nil || !within || trouble == CloseLate {
		return
	}
	c := &connection{server: s, tcp: tcp, user: conn.User()}
	s.login(c)
	defer s.logout(c)
	c.run(ctx, channels, requests)
}

// run serves channels until the connection ends.
func (c *connection) run(ctx context.Context, channels <-chan ssh.NewChannel, requests <-chan *ssh.Request) {
	var running sync.WaitGroup
	defer running.Wait()
	if c.server.options.StopOnDisconnect {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
	}
	running.Go(func() {
		c.globalRequests(requests)
	})
	gone := make(chan struct{})
	defer close(gone)
	for channel := range channels {
		if !c.admit(channel) {
			continue
		}
		running.Go(func() {
			defer c.release()
			c.session(ctx, channel, gone)
		})
	}
}

// globalRequests reads requests and never answers: a client that waits for the
// reply to a keepalive waits for ever, as with the real appliance.
func (c *connection) globalRequests(requests <-chan *ssh.Request) {
	for request := range requests {
		if c.server.options.AnswerGlobalRequests && request.WantReply {
			_ = request.Reply(false, nil)
		}
	}
}

// admit decides whether a channel may open. One over the cap is rejected or
// left without an answer.
func (c *connection) admit(channel ssh.NewChannel) bool {
	if channel.ChannelType() != "session" {
		_ = channel.Reject(ssh.UnknownChannelType, "only session channels")
		return false
	}
	switch c.server.channelTrouble() {
	case IgnoreChannel:
		return false
	case RejectChannel:
		_ = channel.Reject(ssh.ResourceShortage, "too many channels")
		return false
	case NoChannelTrouble:
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.channels < c.server.options.MaxChannels {
		c.channels++
		return true
	}
	if c.server.options.ChannelLimit == LimitLate {
		_ = channel.Reject(ssh.ResourceShortage, "too many channels")
	}
	return false
}

func (c *connection) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.channels--
}
