package sshd

import (
	"context"
	"fmt"
	"io"
	"net"
	"time"

	"golang.org/x/crypto/ssh"
)

// ConnectionTrouble is what goes wrong with one TCP connection.
type ConnectionTrouble int

// What can go wrong with a connection.
const (
	NoConnectionTrouble ConnectionTrouble = iota
	// ResetConnection resets it at once. A port that is closed would refuse
	// it; that isn't done since somebody else could take the port meanwhile.
	ResetConnection
	// MuteConnection never says a word.
	MuteConnection
	// CloseEarly closes it before the banner, as over the session limit.
	CloseEarly
	// CloseLate closes it after it authenticated, as over the session limit.
	CloseLate
	// RefuseKeys refuses every user and key.
	RefuseKeys
	// OtherHostKey shows a host key that nobody has seen before, always the
	// same one.
	OtherHostKey
)

// ChannelTrouble is what goes wrong with opening one channel.
type ChannelTrouble int

// What can go wrong with a channel.
const (
	NoChannelTrouble ChannelTrouble = iota
	// IgnoreChannel leaves the request to open it unanswered.
	IgnoreChannel
	// RejectChannel rejects it.
	RejectChannel
)

// begin has a new connection run into its trouble, and reports whether it may
// go on to the handshake.
func (s *Server) begin(ctx context.Context, tcp net.Conn, trouble ConnectionTrouble) bool {
	switch trouble {
	case ResetConnection:
		if conn, ok := tcp.(*net.TCPConn); ok {
			_ = conn.SetLinger(0)
		}
		return false
	case MuteConnection:
		// Reading ends when the client leaves or the server drops it.
		_, _ = io.Copy(io.Discard, tcp)
		return false
	case CloseEarly:
		return false
	default:
		return s.hold(ctx)
	}
}

// hold waits as long as a handshake takes on the real appliance.
func (s *Server) hold(ctx context.Context) bool {
	if s.options.Handshake == nil {
		return true
	}
	timer := time.NewTimer(s.options.Handshake())
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// configure is the handshake's configuration under the given trouble.
func (s *Server) configure(trouble ConnectionTrouble) (*ssh.ServerConfig, error) {
	config := &ssh.ServerConfig{PublicKeyCallback: s.authorize, ServerVersion: "SSH-2.0-ROSSSH"}
	if len(s.options.Passwords) > 0 {
		config.PasswordCallback = s.authorizePassword
	}
	key := s.options.HostKey
	switch trouble {
	case RefuseKeys:
		config.PasswordCallback = nil
		config.PublicKeyCallback = func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) {
			return nil, errUnknownKey
		}
	case OtherHostKey:
		var err error
		if key, err = s.otherHostKey(); err != nil {
			return nil, err
		}
	default:
	}
	config.AddHostKey(key)
	return config, nil
}

// makeHostKey makes a host key of the same type as key.
func makeHostKey(key ssh.PublicKey) (ssh.Signer, error) {
	kind := Ed25519
	if key.Type() == ssh.KeyAlgoRSA {
		kind = RSA
	}
	private, err := generate(kind)
	if err != nil {
		return nil, fmt.Errorf("make another host key: %w", err)
	}
	return ssh.NewSignerFromSigner(private)
}
