package sim

import (
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/sshd"
)

// FaultKind names a way in which something goes wrong. Its text is what the
// HTTP port takes.
type FaultKind string

// Faults of one exec: how it is carried out and answered.
const (
	// NoFault answers as usual.
	NoFault FaultKind = ""
	// DropBefore cuts the TCP connection; nothing is applied.
	DropBefore FaultKind = "drop-before"
	// DropAfter applies Fault.Statements simple statements and cuts the
	// connection.
	DropAfter FaultKind = "drop-after"
	// ReplyLost applies the whole line and cuts the connection before any
	// output or exit status.
	ReplyLost FaultKind = "reply-lost"
	// AppliedLater cuts the connection and applies the line after the next
	// exec that is carried out, as one that was stuck on its way.
	AppliedLater FaultKind = "applied-later"
	// Truncate applies the line and sends the first Fault.Keep bytes of the
	// output, with exit status 0. A negative Keep cuts so many off the end.
	Truncate FaultKind = "truncate"
	// Late applies the line and answers after Fault.Delay.
	Late FaultKind = "late"
	// Garbage applies the line and sends Fault.Line before the output.
	Garbage FaultKind = "garbage"
	// Echo applies the line and sends Fault.Line, without a line end, behind the
	// first Fault.Keep bytes of the output, and then the rest: critical logs are
	// echoed into sessions.
	Echo FaultKind = "echo"
	// Reject applies nothing and sends Fault.Line with exit status 0, as a
	// console does that can't parse the line.
	Reject FaultKind = "reject"
	// Hang applies nothing and never answers.
	Hang FaultKind = "hang"
	// HangAfter applies the whole line and never answers.
	HangAfter FaultKind = "hang-after"
)

// Faults of one exec: what it finds the appliance in. It is answered as usual.
const (
	// LosePolicy takes Fault.Policy away from the user: "read", "write" or
	// "test".
	LosePolicy FaultKind = "lose-policy"
	// PoolFull leaves no free space.
	PoolFull FaultKind = "pool-full"
	// PoolDegraded shows a state that isn't clean.
	PoolDegraded FaultKind = "pool-degraded"
	// PoolUnmounted takes file system, files and exports away.
	PoolUnmounted FaultKind = "pool-unmounted"
	// FilesUnlisted has /file list no file.
	FilesUnlisted FaultKind = "files-unlisted"
	// NothingListed has /file list neither files nor directories.
	NothingListed FaultKind = "nothing-listed"
	// FileVanished removes the backing file of the disk the line is about.
	// It stays away.
	FileVanished FaultKind = "file-vanished"
	// DuplicateSlot has an operator add another disk under the slot the line
	// is about, see [appliance.OperatorComment]. It stays.
	DuplicateSlot FaultKind = "duplicate-slot"
	// HalfAdd, HalfRemoveExport, HalfRemoveItem and FileStays have a command
	// of the line do half its work and fail, see [appliance.Mishap].
	HalfAdd          FaultKind = "half-add"
	HalfRemoveExport FaultKind = "half-remove-export"
	HalfRemoveItem   FaultKind = "half-remove-item"
	FileStays        FaultKind = "file-stays"
	// Interleave runs Fault.Lines as an operator's console would after
	// Fault.Statements simple statements. "{command}" in them is the line
	// itself, "{slot}" and "{file}" are the slot and the file it is about.
	Interleave FaultKind = "interleave"
	// PowerCut cuts the power after Fault.Statements simple statements: what
	// was written within Options.FlashDelay is lost. See [Sim.Reboot] for
	// what follows.
	PowerCut FaultKind = "power-cut"
	// Restart is a PowerCut that loses nothing. Fault.Boot says what either
	// does besides.
	Restart FaultKind = "restart"
)

// Faults of one channel that is opened on a good connection.
const (
	// ChannelHangs leaves the request to open it unanswered.
	ChannelHangs FaultKind = "channel-hangs"
	// ChannelRejected rejects it.
	ChannelRejected FaultKind = "channel-rejected"
)

// Faults of one TCP connection. To inject one cuts the connections there are.
const (
	// ConnectionReset resets it at once.
	ConnectionReset FaultKind = "connection-reset"
	// ConnectionMute never says a word.
	ConnectionMute FaultKind = "connection-mute"
	// SessionLimitEarly and SessionLimitLate close it before the banner and
	// after it authenticated: the two known forms of "too many sessions".
	SessionLimitEarly FaultKind = "session-limit-early"
	SessionLimitLate  FaultKind = "session-limit-late"
	// AuthRefused refuses every user and key.
	AuthRefused FaultKind = "auth-refused"
	// HostKeyChanged shows another host key, always the same one: see
	// [Sim.ChangedHostKey].
	HostKeyChanged FaultKind = "host-key-changed"
)

// WholeLine stands for all statements of any line in Fault.Statements.
const WholeLine = 1 << 20

// Fault is what a test wants to happen. Which fields count depends on Kind.
type Fault struct {
	Kind FaultKind
	// Statements counts simple statements: everything but :if, :do and
	// :onerror, whose insides count as they are run. A line with fewer is
	// carried out whole first.
	Statements int
	// Keep is a number of bytes.
	Keep int
	// Line is text without line end.
	Line string
	// Lines are console lines.
	Lines []string
	// Policy is a policy of the user's group.
	Policy string
	// Boot is how the appliance comes back.
	Boot appliance.Boot
	// Delay is real time, also in a simulator that takes no time otherwise.
	Delay time.Duration
	// Act, for Interleave, is called after Lines were run, with the command.
	Act func(command string)
}

// mishap is what the fault does inside a command.
func (f Fault) mishap() appliance.Mishap {
	switch f.Kind {
	case HalfAdd:
		return appliance.HalfAdd
	case HalfRemoveExport:
		return appliance.HalfRemoveExport
	case HalfRemoveItem:
		return appliance.HalfRemoveItem
	case FileStays:
		return appliance.FileStays
	default:
		return appliance.NoMishap
	}
}

// restrict takes away the policy that is lost.
func (f Fault) restrict(policies appliance.Policies) appliance.Policies {
	if f.Kind != LosePolicy {
		return policies
	}
	switch f.Policy {
	case "read":
		policies.Read = false
	case "test":
		policies.Test = false
	default:
		policies.Write = false
	}
	return policies
}

// condition is what the fault does to the pools.
func (f Fault) condition() (appliance.Condition, bool) {
	switch f.Kind {
	case PoolFull:
		return appliance.PoolFull, true
	case PoolDegraded:
		return appliance.PoolDegraded, true
	case PoolUnmounted:
		return appliance.PoolUnmounted, true
	case FilesUnlisted:
		return appliance.FilesUnlisted, true
	case NothingListed:
		return appliance.NothingListed, true
	default:
		return 0, false
	}
}

// prevents reports whether the line is not to be run at all, or not now.
func (f Fault) prevents() bool {
	switch f.Kind {
	case DropBefore, Hang, Reject, AppliedLater:
		return true
	default:
		return false
	}
}

// reply is what the client gets for a line that printed output.
func (f Fault) reply(output string) sshd.Reply {
	switch f.Kind {
	case DropBefore, ReplyLost, AppliedLater, PowerCut, Restart:
		return sshd.Reply{Ending: sshd.EndDrop}
	case DropAfter:
		return sshd.Reply{Output: output, Ending: sshd.EndDrop}
	case Hang, HangAfter:
		return sshd.Reply{Ending: sshd.EndHang}
	case Truncate:
		keep := f.Keep
		if keep < 0 {
			keep = max(0, len(output)+keep)
		}
		return sshd.Reply{Output: output[:min(keep, len(output))]}
	case Late:
		return sshd.Reply{Output: output, Delay: f.Delay}
	case Garbage:
		return sshd.Reply{Output: f.Line + "\r\n" + output}
	case Echo:
		at := min(f.Keep, len(output))
		return sshd.Reply{Output: output[:at] + f.Line + output[at:]}
	case Reject:
		return sshd.Reply{Output: f.Line + "\r\n"}
	default:
		return sshd.Reply{Output: output}
	}
}
