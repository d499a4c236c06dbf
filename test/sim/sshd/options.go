package sshd

import (
	"context"
	"time"

	"golang.org/x/crypto/ssh"
)

// Handler carries out one exec line.
type Handler interface {
	// Exec returns what goes back to the client. ctx ends with the server;
	// whether it also ends with the channel is Options.StopOnDisconnect's
	// business.
	Exec(ctx context.Context, user, command string) Reply
}

// Ending says how an exec ends.
type Ending int

const (
	// EndNormal sends the output, exit status 0, EOF and close.
	EndNormal Ending = iota
	// EndDrop sends the output and then cuts the TCP connection: the client
	// sees no exit status.
	EndDrop
	// EndHang sends nothing for as long as the connection lives.
	EndHang
)

// Reply is the answer to one exec.
type Reply struct {
	Output string
	Ending Ending
	// Delay is how long the reply is held back; it is over early if the
	// connection ends.
	Delay time.Duration
}

// Limit says what happens to a connection or channel that is one too many.
type Limit int

const (
	// LimitEarly closes a connection before the banner, and leaves a channel
	// open request unanswered.
	LimitEarly Limit = iota
	// LimitLate closes a connection after it authenticated, and rejects a
	// channel.
	LimitLate
)

// Options of a [Server].
type Options struct {
	// HostKey is the only host key served.
	HostKey ssh.Signer
	// Users maps a user name to the keys it may log in with.
	Users map[string][]ssh.PublicKey
	// Passwords maps a user name to a password. Nobody with a key can log in
	// with one.
	Passwords map[string]string
	// MaxSessions caps connections; DefaultMaxSessions if zero.
	MaxSessions int
	// Window is how many bytes of output a client gets at most: the appliance
	// drops the rest when the command is over. DefaultWindow if zero.
	Window int
	// SessionLimit is what a connection over the cap sees.
	SessionLimit Limit
	// MaxChannels caps channels per connection; 8 if zero.
	MaxChannels int
	// ChannelLimit is what a channel over the cap sees.
	ChannelLimit Limit
	// AnswerGlobalRequests answers global requests with a failure instead of
	// not at all.
	AnswerGlobalRequests bool
	// StopOnDisconnect ends the context of an exec when its connection ends.
	StopOnDisconnect bool
	// Subsystem, when set, finds the subsystem of a name for a user; nil
	// refuses it.
	Subsystem func(user, name string) Subsystem
	// Connection and Channel, when set, are asked once per connection and per
	// channel what goes wrong with it.
	Connection func() ConnectionTrouble
	Channel    func() ChannelTrouble
	// Handshake, when set, says how long to hold a handshake up.
	Handshake func() time.Duration
}
