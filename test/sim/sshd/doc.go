// Package sshd is the SSH front of the simulated appliance: it behaves on the
// wire as RouterOS' server does and leaves what a command means to a [Handler].
//
// Exit status is always 0, stderr is never used, global requests are read and
// never answered, and sessions and channels are capped.
//
// server.go accepts connections, conn.go serves one of them, channel.go one
// exec, subsystem.go finds what else a channel can be, logins.go knows who is
// connected, trouble.go what can go wrong, hostkey.go keeps the host key.
package sshd
