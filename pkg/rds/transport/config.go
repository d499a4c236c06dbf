package transport

import (
	"fmt"
	"net"
	"strconv"
	"time"
)

// DefaultMaxChannels and HighestMaxChannels bound the commands in flight. An RDS was seen to hang when 19 channels were
// opened at once. Another RouterOS was seen to serve 8 for months.
const (
	DefaultMaxChannels = 4
	HighestMaxChannels = 8
)

const (
	// defaultConnectTimeout is ample: the handshake takes 200-500 ms on an RDS2216.
	defaultConnectTimeout = 10 * time.Second
	// defaultReconnectMin and defaultReconnectMax bound the wait after a failed attempt to connect. The wait is short enough
	// to be back soon after a reboot. It is long enough to be no burden on an appliance with 20 SSH sessions.
	defaultReconnectMin = 500 * time.Millisecond
	defaultReconnectMax = 30 * time.Second
)

// Config says which appliance to connect to, and as whom.
type Config struct {
	// Address is the appliance's SSH address, host:port.
	Address string
	// User is the RouterOS user. Its group needs the policies ssh, read, write and test.
	User string
	// PrivateKeyFile has the user's unencrypted private key, ed25519 or RSA. It is read again for every connection.
	PrivateKeyFile string
	// KnownHostsFile pins the appliance's host key, in OpenSSH's format. It is read again for every connection. It may
	// be empty if HostKeyFingerprints isn't.
	KnownHostsFile string
	// HostKeyFingerprints pins host keys by fingerprint, "SHA256:…"; any one of these, or of KnownHostsFile, is accepted.
	HostKeyFingerprints []string

	// MaxChannels bounds the commands in flight at a time, 1 to HighestMaxChannels; 0 means DefaultMaxChannels. Where the
	// appliance allows fewer, that is found out.
	MaxChannels int
	// ConnectTimeout bounds reaching the appliance and the SSH handshake; 0 means 10 seconds.
	ConnectTimeout time.Duration
	// ReconnectMin and ReconnectMax bound the wait after a failed attempt to connect, which doubles with each; 0 means
	// half a second and half a minute. Meanwhile commands fail at once with ErrUnreachable.
	ReconnectMin, ReconnectMax time.Duration

	// ObserveConnect, unless nil, is called with the result of each attempt to connect.
	ObserveConnect func(result ConnectResult)
	// ObserveConnected, unless nil, is called when a connection for new commands appears (true), and when it is gone
	// (false). It must neither block nor use the transport.
	ObserveConnected func(connected bool)
}

// check looks at every field but those of the key files. Errors are *FieldError.
func (c Config) check() error {
	if _, port, err := net.SplitHostPort(c.Address); err != nil || port == "" {
		return &FieldError{Field: "appliance address", Value: c.Address, Want: "host:port"}
	}
	if c.User == "" {
		return &FieldError{Field: "appliance user", Value: c.User, Want: "the name of a RouterOS user"}
	}
	if c.MaxChannels < 0 || c.MaxChannels > HighestMaxChannels {
		return &FieldError{Field: "commands in flight", Value: strconv.Itoa(c.MaxChannels), Want: fmt.Sprintf("1 to %d, or 0 for the default", HighestMaxChannels)}
	}
	if c.ReconnectMin < 0 || c.ReconnectMax < 0 {
		return &FieldError{Field: "wait before connecting again", Value: min(c.ReconnectMin, c.ReconnectMax).String(), Want: "a positive duration, or 0 for the default"}
	}
	return nil
}

// withDefaults fills in what was left at zero.
func (c Config) withDefaults() Config {
	if c.MaxChannels == 0 {
		c.MaxChannels = DefaultMaxChannels
	}
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = defaultConnectTimeout
	}
	if c.ReconnectMin == 0 {
		c.ReconnectMin = defaultReconnectMin
	}
	if c.ReconnectMax == 0 {
		c.ReconnectMax = defaultReconnectMax
	}
	if c.ObserveConnect == nil {
		c.ObserveConnect = func(ConnectResult) {}
	}
	if c.ObserveConnected == nil {
		c.ObserveConnected = func(bool) {}
	}
	return c
}
