package sim

import (
	"errors"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/sshd"
)

// FaultKind names a way in which one exec goes wrong.
type FaultKind int

// The faults an exec can be given.
const (
	// NoFault answers as usual.
	NoFault FaultKind = iota
	// DropBefore cuts the TCP connection; nothing is applied.
	DropBefore
	// DropAfter applies Fault.Statements simple statements (everything but
	// :if, :do and :onerror, whose insides count) and cuts the connection.
	DropAfter
	// ReplyLost applies the whole line and cuts the connection before any
	// output or exit status.
	ReplyLost
	// Truncate applies the line and sends the first Fault.Keep bytes of the
	// output, with exit status 0.
	Truncate
	// Garbage applies the line and sends Fault.Line before the output.
	Garbage
	// Hang applies nothing and never answers.
	Hang
	// HangAfter applies the whole line and never answers.
	HangAfter
)

// Fault is what a test wants to happen to an exec.
type Fault struct {
	Kind FaultKind
	// Statements, for DropAfter.
	Statements int
	// Keep is a number of bytes, for Truncate.
	Keep int
	// Line is text without line end, for Garbage.
	Line string
}

// errDropped aborts a line whose connection is to be cut.
var errDropped = errors.New("connection dropped by a fault")

// limit returns the hook that stops a line after Fault.Statements.
func (f Fault) limit() func() error {
	if f.Kind != DropAfter {
		return nil
	}
	left := f.Statements
	return func() error {
		if left == 0 {
			return errDropped
		}
		left--
		return nil
	}
}

// prevents reports whether the line is not to be run at all.
func (f Fault) prevents() bool { return f.Kind == DropBefore || f.Kind == Hang }

// reply is what the client gets for a line that printed output.
func (f Fault) reply(output string) sshd.Reply {
	switch f.Kind {
	case DropBefore, ReplyLost:
		return sshd.Reply{Ending: sshd.EndDrop}
	case DropAfter:
		return sshd.Reply{Output: output, Ending: sshd.EndDrop}
	case Hang, HangAfter:
		return sshd.Reply{Ending: sshd.EndHang}
	case Truncate:
		return sshd.Reply{Output: output[:min(f.Keep, len(output))]}
	case Garbage:
		return sshd.Reply{Output: f.Line + "\r\n" + output}
	default:
		return sshd.Reply{Output: output}
	}
}
