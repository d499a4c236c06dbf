package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"
)

// dialTCP connects, with keepalives of TCP. RouterOS never answers a keepalive of SSH: a client that waits for the answer
// waits for ever.
func dialTCP(ctx context.Context, address string) (net.Conn, error) {
	dialer := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}}
	return dialer.DialContext(ctx, "tcp", address)
}

// dial connects, checks the host key and logs in, or gives up when ctx ends. Its errors are ErrUnreachable and say why.
// ErrHostKey, ErrPermission or a *FieldError may come with it.
func (s *SSH) dial(ctx context.Context) (*connection, error) {
	trust, err := readCredentials(s.config)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	conn, err := s.dialTCP(ctx, s.config.Address)
	if err != nil {
		return nil, fmt.Errorf("%w: connect to %s: %w", ErrUnreachable, s.config.Address, err)
	}
	// Closing the connection ends the handshake, at whatever point the appliance stopped answering.
	unbind := context.AfterFunc(ctx, func() { _ = conn.Close() })
	gate := &gate{Conn: conn}
	client, err := s.handshake(gate, trust)
	if !unbind() && err == nil {
		_ = client.Close()
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = conn.Close()
		err = fmt.Errorf("SSH to %s as %q: %w", s.config.Address, s.config.User, err)
		if errors.Is(err, ErrHostKey) || errors.Is(err, ErrPermission) {
			return nil, notSentError{err}
		}
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	return newConnection(client, gate), nil
}

func (s *SSH) handshake(conn net.Conn, trust credentials) (*ssh.Client, error) {
	var (
		algorithms = trust.pins.algorithms()
		verified   error
		knowsHost  bool
	)
	sshConn, channels, requests, err := ssh.NewClientConn(conn, s.config.Address, &ssh.ClientConfig{
		User: s.config.User,
		Auth: []ssh.AuthMethod{ssh.PublicKeys(trust.key)},
		HostKeyCallback: func(hostname string, remote net.Addr, key ssh.PublicKey) error {
			verified = trust.pins.check(hostname, remote, key)
			knowsHost = verified == nil
			if knowsHost {
				s.noteHostKey(key)
			}
			return verified
		},
		HostKeyAlgorithms: algorithms,
	})
	var mismatch *ssh.AlgorithmNegotiationError
	switch {
	case err == nil:
		return ssh.NewClient(sshConn, channels, requests), nil
	case verified != nil:
		return nil, verified
	case errors.As(err, &mismatch) && slices.Equal(mismatch.SupportedAlgorithms, algorithms):
		return nil, fmt.Errorf("%w: the appliance has keys of the types %q only, pinned is %s; give it a host key of type ed25519 or rsa", ErrHostKey, mismatch.RequestedAlgorithms, trust.pins)
	case knowsHost && !broken(err):
		// Past the host key nothing but the login is left to fail, unless the connection broke.
		return nil, fmt.Errorf("%w: it doesn't take key %s %s; install its public half with \"/user ssh-keys add\", and check that the user's group has policy ssh and its address filter this address: %w",
			ErrPermission, trust.key.PublicKey().Type(), ssh.FingerprintSHA256(trust.key.PublicKey()), err)
	default:
		return nil, err
	}
}

// noteHostKey stores the host key that was accepted last.
func (s *SSH) noteHostKey(key ssh.PublicKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hostKey = key.Type() + " " + ssh.FingerprintSHA256(key)
}

// Trust returns type and fingerprint of the host key that was accepted last. It is empty before the first connection.
func (s *SSH) Trust() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hostKey
}

// broken reports whether an error means that the connection ended, rather than that the appliance said something.
func broken(err error) bool {
	var network net.Error
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.ErrClosedPipe) || errors.Is(err, net.ErrClosed) || errors.As(err, &network)
}
