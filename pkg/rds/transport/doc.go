// Package transport runs command lines on a RouterOS appliance over SSH, and lists and makes directories over SFTP. It
// returns what the appliance printed. It knows no disk and no command.
//
// Where to find what:
//
//   - ssh.go         SSH: the one connection that is kept, and Exec
//   - sftp.go        directories: ListFiles and MakeDirectory
//   - channels.go    how many commands may be in flight
//   - connection.go  a single SSH connection: how channels are opened on it
//   - dial.go        how a connection is made: TCP, host key, login
//   - backoff.go     how long to wait after a failed attempt to connect
//   - gate.go        works around a leak of goroutines in golang.org/x/crypto/ssh
//   - credentials.go the user's key; hostkey.go the host keys that are accepted
//   - config.go      Config; result.go names how attempts to connect ended
//   - errors.go      what can go wrong, as types; callers never match text
//
// # Rules
//
// Everything has a deadline: dialling, opening a channel, a command. RouterOS never answers a keepalive of SSH, so that
// none is sent.
//
// ErrUnreachable means that nothing was sent. ErrIncomplete means that the command may have run.
package transport
