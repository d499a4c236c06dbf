package sim

import (
	"slices"
	"strconv"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
)

// Occasion is what a fault strikes.
type Occasion int

// The occasions of faults.
const (
	// OnExec is one exec line.
	OnExec Occasion = iota
	// OnChannel is the opening of one channel.
	OnChannel
	// OnConnection is one TCP connection.
	OnConnection
)

// Occasion is what faults of this kind strike.
func (k FaultKind) Occasion() Occasion {
	switch k {
	case ChannelHangs, ChannelRejected:
		return OnChannel
	case ConnectionReset, ConnectionMute, SessionLimitEarly, SessionLimitLate, AuthRefused, HostKeyChanged:
		return OnConnection
	default:
		return OnExec
	}
}

// NamedFault is a fault that tests iterate over.
type NamedFault struct {
	// Name is stable and unique, and fit for t.Run.
	Name string
	// Fault is a copy of the reader's own.
	Fault Fault
	// Silent says that nothing ends the exec but the client's patience, or
	// [Sim.DropConnections]: a test over it has to give the client little.
	Silent bool
	// Reboots says that the appliance goes down and stays down until
	// [Sim.NextPhase] is called often enough.
	Reboots bool
}

// lateness is the delay of the late reply in Faults: later than the patience
// of most. A test may set Fault.Delay to what it needs.
const lateness = time.Minute

// statementsCounted is how far into a line Faults go statement by statement.
const statementsCounted = 5

// Faults lists a fault of every kind there is, those that strike between two
// statements once for each of the first positions in a line.
func Faults() []NamedFault {
	return slices.Concat(replyFaults(), cutFaults(), stateFaults(), positionedFaults(), bootFaults(), wireFaults())
}

// replyFaults are about how a line is carried out and answered.
func replyFaults() []NamedFault {
	return []NamedFault{
		{Name: "drop before", Fault: Fault{Kind: DropBefore}},
		{Name: "reply lost", Fault: Fault{Kind: ReplyLost}},
		{Name: "applied later", Fault: Fault{Kind: AppliedLater}},
		{Name: "reply empty", Fault: Fault{Kind: Truncate}},
		{Name: "reply truncated at the start", Fault: Fault{Kind: Truncate, Keep: 20}},
		{Name: "reply truncated at the end", Fault: Fault{Kind: Truncate, Keep: -20}},
		{Name: "reply late", Fault: Fault{Kind: Late, Delay: lateness}, Silent: true},
		{Name: "garbage first", Fault: Fault{Kind: Garbage, Line: "login banner: all is well"}},
		{Name: "log echoed", Fault: Fault{Kind: Echo, Line: "12:00:00 system,error,critical login failure for user admin"}},
		{Name: "parse error behind a note", Fault: Fault{Kind: Reject, Line: "login note: all is well\r\nexpected end of command (line 1 column 24)"}},
		{Name: "parse error", Fault: Fault{Kind: Reject, Line: "expected end of command (line 1 column 24)"}},
		{Name: "hang before", Fault: Fault{Kind: Hang}, Silent: true},
		{Name: "hang after", Fault: Fault{Kind: HangAfter}, Silent: true},
	}
}

// stumps is how many bytes of a reply Faults leave at most, one by one: a
// client may know its own reply by its first 16.
const stumps = 16

// cutFaults leave hardly anything of a reply.
func cutFaults() []NamedFault {
	var faults []NamedFault
	for keep := 1; keep <= stumps; keep++ {
		faults = append(faults, NamedFault{
			Name: "reply cut at byte " + strconv.Itoa(keep), Fault: Fault{Kind: Truncate, Keep: keep},
		})
	}
	return faults
}

// stateFaults are about what a line finds.
func stateFaults() []NamedFault {
	return []NamedFault{
		{Name: "policy write lost", Fault: Fault{Kind: LosePolicy, Policy: "write"}},
		{Name: "policy read lost", Fault: Fault{Kind: LosePolicy, Policy: "read"}},
		{Name: "policy test lost", Fault: Fault{Kind: LosePolicy, Policy: "test"}},
		{Name: "pool full", Fault: Fault{Kind: PoolFull}},
		{Name: "pool degraded", Fault: Fault{Kind: PoolDegraded}},
		{Name: "pool unmounted", Fault: Fault{Kind: PoolUnmounted}},
		{Name: "files not listed", Fault: Fault{Kind: FilesUnlisted}},
		{Name: "nothing listed", Fault: Fault{Kind: NothingListed}},
		{Name: "file vanished", Fault: Fault{Kind: FileVanished}},
		{Name: "duplicate slot", Fault: Fault{Kind: DuplicateSlot}},
		{Name: "add half done", Fault: Fault{Kind: HalfAdd}},
		{Name: "remove half done, item stays", Fault: Fault{Kind: HalfRemoveExport}},
		{Name: "remove half done, file stays", Fault: Fault{Kind: HalfRemoveItem}},
		{Name: "file not removed", Fault: Fault{Kind: FileStays}},
	}
}

// positionedFaults strike between two statements.
func positionedFaults() []NamedFault {
	var faults []NamedFault
	add := func(name string, fault Fault) {
		reboots := fault.Kind == PowerCut || fault.Kind == Restart
		for k := range statementsCounted {
			fault.Statements = k
			faults = append(faults, NamedFault{
				Name: name + " at statement " + strconv.Itoa(k), Fault: fault, Reboots: reboots,
			})
		}
		fault.Statements = WholeLine
		faults = append(faults, NamedFault{Name: name + " at the end", Fault: fault, Reboots: reboots})
	}
	add("drop", Fault{Kind: DropAfter})
	add("power cut", Fault{Kind: PowerCut})
	add("restart", Fault{Kind: Restart})
	add("restart with exports off", Fault{Kind: Restart, Boot: appliance.Boot{ExportsOff: true}})
	add("second controller", Fault{Kind: Interleave, Lines: []string{"{command}"}})
	add("operator unexports", Fault{
		Kind: Interleave, Lines: []string{`/disk set [find where slot="{slot}"] nvme-tcp-export=no`},
	})
	return faults
}

// bootFaults are about how the appliance comes back. That exports stay off is
// left to tests of its own: it undoes what no later operation need notice.
func bootFaults() []NamedFault {
	return []NamedFault{{
		Name:    "restart, listings empty",
		Fault:   Fault{Kind: Restart, Statements: WholeLine, Boot: appliance.Boot{EmptyListings: true}},
		Reboots: true,
	}}
}

// wireFaults are about channels and connections.
func wireFaults() []NamedFault {
	return []NamedFault{
		{Name: "channel open hangs", Fault: Fault{Kind: ChannelHangs}, Silent: true},
		{Name: "channel rejected", Fault: Fault{Kind: ChannelRejected}},
		{Name: "connection reset", Fault: Fault{Kind: ConnectionReset}},
		{Name: "connection mute", Fault: Fault{Kind: ConnectionMute}, Silent: true},
		{Name: "session limit before the banner", Fault: Fault{Kind: SessionLimitEarly}},
		{Name: "session limit after authentication", Fault: Fault{Kind: SessionLimitLate}},
		{Name: "auth refused", Fault: Fault{Kind: AuthRefused}},
		{Name: "host key changed", Fault: Fault{Kind: HostKeyChanged}},
	}
}
