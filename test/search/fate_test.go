package search

import (
	"context"
	"regexp"
	"strings"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
)

// fate is what becomes of one line: the faults of the simulator that strike lines, in the words of this package. Its zero
// value runs nothing.
type fate struct {
	// unsent lines never reach the appliance; ignored ones do, and nothing is done about them.
	unsent, ignored bool
	// stuck is how long the line takes to get there.
	stuck time.Duration
	// lost replies leave the sender alone at once; hung ones never come. The line is carried out in either case.
	lost, hung bool
	// garbage is printed first, and keep is how much arrives of what is printed, as a fraction of 100.
	garbage string
	keep    int
	// echoes is how often the line is carried out once more, at the same time.
	echoes int
	// afflicted lines find the pools in a condition.
	afflicted bool
	condition appliance.Condition
	mishap    appliance.Mishap
	policies  appliance.Policies
	// between happens before the statement of that number, from 1; its error ends the line.
	before  int
	between func() error
}

// longLine is the number of statements of the longest line.
const longLine = 6

// reply is what arrives of the output.
func (f fate) reply(output string) string {
	output = f.garbage + output
	return output[:len(output)*f.keep/100]
}

// fates are what may become of a line; what happens to more of them stands there more often.
var fates = []func(*storage, *fate, string){
	notSent, notSent, stuck, stuck, stuckForLong, lateReply, hung, replyLost, replyLost, replyCut, replyCut, garbageFirst, refused,
	policyLost, poolAway, halfDone, cutShort, cutShort, poweredOff, restarted, unexported, echoed, fileVanished,
	slotDuplicated,
}

// fateOf draws what becomes of a line.
func (s *storage) fateOf(command string) fate {
	f := fate{keep: 100, policies: appliance.AllPolicies()}
	if s.hangs && strings.Contains(command, "/disk set ") {
		s.hangs = false
		stuckForLong(s, &f, command)
		return f
	}
	if s.trouble == 0 || !s.e.chance(s.trouble) {
		return f
	}
	s.fates[s.e.random.IntN(len(s.fates))](s, &f, command)
	return f
}

func notSent(_ *storage, f *fate, _ string) { f.unsent = true }

func stuck(s *storage, f *fate, _ string) { f.stuck, f.lost = s.e.upTo(25*time.Second), true }

// stuckForLong has the line carried out when everybody has given it up, and other lines have come through.
func stuckForLong(s *storage, f *fate, _ string) {
	f.stuck, f.lost = 20*time.Second+s.e.upTo(2*time.Minute), true
}

func lateReply(s *storage, f *fate, _ string) { f.stuck = s.e.upTo(25 * time.Second) }

func hung(s *storage, f *fate, _ string) { f.hung, f.ignored = true, s.e.chance(2) }

func replyLost(_ *storage, f *fate, _ string) { f.lost = true }

func replyCut(s *storage, f *fate, _ string) { f.keep = s.e.random.IntN(100) }

func garbageFirst(_ *storage, f *fate, _ string) { f.garbage = "login banner: all is well\r\n" }

func refused(_ *storage, f *fate, _ string) {
	f.ignored, f.garbage = true, "expected end of command (line 1 column 24)\r\n"
}

func policyLost(s *storage, f *fate, _ string) {
	lost := []*bool{&f.policies.Write, &f.policies.Read, &f.policies.Test}
	*lost[s.e.random.IntN(len(lost))] = false
}

func poolAway(s *storage, f *fate, _ string) {
	f.afflicted = true
	f.condition = []appliance.Condition{appliance.PoolUnmounted, appliance.PoolFull, appliance.PoolDegraded}[s.e.random.IntN(3)]
}

func halfDone(s *storage, f *fate, _ string) {
	f.mishap = []appliance.Mishap{appliance.HalfAdd, appliance.HalfRemoveExport, appliance.HalfRemoveItem, appliance.FileStays}[s.e.random.IntN(4)]
}

// cutShort ends the line with its connection, between two statements.
func cutShort(s *storage, f *fate, _ string) {
	f.before = 1 + s.e.random.IntN(longLine)
	f.between = func() error { return errCut }
}

func poweredOff(s *storage, f *fate, _ string) {
	f.before = 1 + s.e.random.IntN(longLine)
	f.between = func() error { return s.fail(appliance.Boot{PowerCut: true}) }
}

func restarted(s *storage, f *fate, _ string) {
	f.before = 1 + s.e.random.IntN(longLine)
	boot := appliance.Boot{ExportsOff: s.e.chance(2), EmptyListings: s.e.chance(2)}
	f.between = func() error { return s.fail(boot) }
}

// operated has an operator do something to the disk that the line is about while the line runs.
func (s *storage) operated(f *fate, command string, act func(slot string) error) {
	slot := regexp.MustCompile(`\bslot="([^"]+)"`).FindStringSubmatch(command)
	if slot == nil {
		return
	}
	f.before = 1 + s.e.random.IntN(longLine)
	f.between = func() error {
		err := act(slot[1])
		s.touch()
		return err
	}
}

// unexported has an export taken away.
func unexported(s *storage, f *fate, command string) {
	s.operated(f, command, func(slot string) error {
		s.e.log("an operator takes the export of %s away", slot)
		_, err := s.appliance.Exec(context.Background(), appliance.AllPolicies(), `/disk set [find where slot="`+slot+`"] nvme-tcp-export=no`, nil)
		return err
	})
}

// fileVanished has a backing file removed, with what is in it.
func fileVanished(s *storage, f *fate, command string) {
	s.operated(f, command, func(slot string) error {
		s.e.log("an operator removes the file of %s", slot)
		s.accidents++
		return s.appliance.LoseFile(slot)
	})
}

// slotDuplicated has another disk added under the slot.
func slotDuplicated(s *storage, f *fate, command string) {
	s.operated(f, command, func(slot string) error {
		s.e.log("an operator adds a disk under %s", slot)
		if !s.tidied {
			s.tidied = true
			s.e.spawn("operator", s.tidy)
		}
		return s.appliance.DuplicateSlot(slot)
	})
}

func echoed(s *storage, f *fate, _ string) { f.echoes = 1 }

// fail takes the appliance down in the middle of a line, which it ends.
func (s *storage) fail(boot appliance.Boot) error {
	if s.appliance.Phase() == appliance.Up {
		s.e.spawn("boot", func() { s.reboot(boot) })
		s.e.pause()
	}
	return nil
}
