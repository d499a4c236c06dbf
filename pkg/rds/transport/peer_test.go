package transport

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// peer is an SSH server that misbehaves as a test says. It is reached through memory, so that a synctest bubble can let
// hours pass.
type peer struct {
	t    *testing.T
	host ssh.Signer
	// others are more host keys.
	others []ssh.Signer
	// away fails every attempt to connect.
	away atomic.Bool
	// dials counts attempts to connect, live the connections that are open.
	dials, live atomic.Int32

	// connected, unless nil, may take over the n-th connection (from 1) before the handshake by returning true.
	connected func(n int32, conn net.Conn) bool
	// login, unless nil, is told of every key that logs in.
	login func(conn net.Conn)
	// authenticated, unless nil, may take over a connection after the handshake.
	authenticated func(n int32, conn ssh.Conn) bool
	// opening, unless nil, is shown each request for a channel, and may take it over. Then waiting, unless nil, is told how
	// many requests have come meanwhile.
	opening func(n int32, channel ssh.NewChannel) bool
	waiting func(requests int)
	// exec answers a command; the channel is closed when it returns, and gets an exit status if it returns true.
	exec func(call) bool
	// subsystem serves one, and is nil where there are none.
	subsystem func(call)

	running sync.WaitGroup
}

// call is one command on the n-th connection.
type call struct {
	io.Writer
	n       int32
	command string
	channel ssh.Channel
	// gone is closed when the connection ends.
	gone <-chan struct{}
}

// echo is how a command is answered that nothing happens to.
func echo(c call) bool {
	_, err := io.WriteString(c, c.command+"!")
	return err == nil
}

// hang answers nothing until the client has left.
func hang(c call) bool {
	<-c.gone
	return false
}

// mute says nothing on a connection until the client has left.
func mute(_ int32, conn net.Conn) bool {
	_, err := io.Copy(io.Discard, conn)
	return err == nil
}

// newPeer returns a peer that echoes, and a transport to it that is closed when the test ends.
func newPeer(t *testing.T, changes ...func(*Config)) (*peer, *SSH) {
	t.Helper()
	p := &peer{t: t, host: newTestKey(t, filepath.Join(t.TempDir(), "host")), exec: echo}
	file := filepath.Join(t.TempDir(), "key")
	newTestKey(t, file)
	config := Config{
		Address: "appliance:22", User: "csi", PrivateKeyFile: file,
		HostKeyFingerprints: []string{ssh.FingerprintSHA256(p.host.PublicKey())},
	}
	for _, change := range changes {
		change(&config)
	}
	s := newSSH(config.withDefaults())
	s.dialTCP = p.dial
	t.Cleanup(func() {
		s.Close()
		p.running.Wait()
	})
	return p, s
}

func newTestKey(t *testing.T, file string) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	return signer
}

var errAway = errors.New("no route to host")

func (p *peer) dial(ctx context.Context, _ string) (net.Conn, error) {
	n := p.dials.Add(1)
	if p.away.Load() {
		return nil, errAway
	}
	ours, theirs := newPipe()
	p.running.Go(func() { p.serve(n, theirs) })
	return ours, ctx.Err()
}

func (p *peer) serve(n int32, conn net.Conn) {
	p.live.Add(1)
	defer p.live.Add(-1)
	defer func() { _ = conn.Close() }()
	if p.connected != nil && p.connected(n, conn) {
		return
	}
	config := &ssh.ServerConfig{PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) {
		if p.login != nil {
			p.login(conn)
		}
		return &ssh.Permissions{}, nil
	}}
	for _, host := range append(p.others, p.host) {
		config.AddHostKey(host)
	}
	server, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	if p.authenticated != nil && p.authenticated(n, server) {
		return
	}
	gone := make(chan struct{})
	defer close(gone)
	p.running.Go(func() {
		for request := range requests {
			p.t.Errorf("the client sent the global request %q, whose answer RouterOS would never give", request.Type)
		}
	})
	for opened := range channels {
		if p.opening != nil && p.opening(n, opened) {
			continue
		}
		if p.waiting != nil {
			p.waiting(len(channels))
		}
		p.running.Go(func() { p.channel(n, opened, gone) })
	}
}

func (p *peer) channel(n int32, opened ssh.NewChannel, gone <-chan struct{}) {
	channel, requests, err := opened.Accept()
	if err != nil {
		return
	}
	defer func() { _ = channel.Close() }()
	for request := range requests {
		if request.Type == "subsystem" && p.subsystem != nil {
			_ = request.Reply(true, nil)
			p.subsystem(call{channel, n, "", channel, gone})
			return
		}
		var payload struct{ Command string }
		if request.Type != "exec" || ssh.Unmarshal(request.Payload, &payload) != nil {
			_ = request.Reply(false, nil)
			continue
		}
		_ = request.Reply(true, nil)
		if p.exec(call{channel, n, payload.Command, channel, gone}) {
			_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{0}))
		}
		return
	}
}

// newPipe returns the two ends of a connection that buffers any amount.
func newPipe() (a, b net.Conn) {
	there, back := newHalf(), newHalf()
	return pipeEnd{in: back, out: there}, pipeEnd{in: there, out: back}
}

type half struct {
	mu      sync.Mutex
	changed *sync.Cond
	data    bytes.Buffer
	closed  bool
}

func newHalf() *half {
	h := &half{}
	h.changed = sync.NewCond(&h.mu)
	return h
}

type pipeEnd struct{ in, out *half }

func (e pipeEnd) Read(data []byte) (int, error) {
	e.in.mu.Lock()
	defer e.in.mu.Unlock()
	for e.in.data.Len() == 0 && !e.in.closed {
		e.in.changed.Wait()
	}
	return e.in.data.Read(data)
}

func (e pipeEnd) Write(data []byte) (int, error) {
	e.out.mu.Lock()
	defer e.out.mu.Unlock()
	if e.out.closed {
		return 0, io.ErrClosedPipe
	}
	e.out.changed.Broadcast()
	return e.out.data.Write(data)
}

func (e pipeEnd) Close() error {
	e.in.close()
	e.out.close()
	return nil
}

func (h *half) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	h.changed.Broadcast()
}

func (pipeEnd) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (pipeEnd) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (pipeEnd) SetDeadline(time.Time) error      { return nil }
func (pipeEnd) SetReadDeadline(time.Time) error  { return nil }
func (pipeEnd) SetWriteDeadline(time.Time) error { return nil }

// execAtOnce begins so many commands at the same time, and returns where the error of each arrives.
func execAtOnce(t *testing.T, s *SSH, commands int) <-chan error {
	t.Helper()
	results := make(chan error, commands)
	for range commands {
		go func() {
			_, err := s.Exec(t.Context(), "x")
			results <- err
		}()
	}
	return results
}
