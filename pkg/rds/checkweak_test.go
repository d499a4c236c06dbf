package rds_test

import (
	"strings"
	"testing"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
)

// stillOpen is said of a connection that a fence didn't end.
const stillOpen = "still open"

// Each is an appliance on which the driver would lose data, or could do nothing, without anybody being told.
func TestCheckFindsEveryWeakness(t *testing.T) {
	tests := map[string]struct {
		change        func(*sim.Options)
		finding, says string
	}{
		"an exec is one change":         {func(o *sim.Options) { o.Unknowns.CoalesceExports = true }, "fence", stillOpen},
		"connections stay":              {func(o *sim.Options) { o.NVMe.KeepConnections = true }, "fence", stillOpen},
		"every name is let in":          {func(o *sim.Options) { o.NVMe.AnyName = true }, "fence", "which was revoked"},
		"paths aren't found":            {func(o *sim.Options) { o.Unknowns.PathSpelling = appliance.NeverFound }, "guards", "backing file"},
		"a found file is emptied":       {func(o *sim.Options) { o.Unknowns.AttachEmptiesFile = true }, "content", "loses what is in it"},
		"sizes are rounded":             {func(o *sim.Options) { o.Unknowns.RoundSizes = true }, "size", "shows 1048576"},
		"a long line is cut":            {func(o *sim.Options) { o.Unknowns.LineMax = 6143 }, "guards", "a line of 6144 bytes"},
		"a long NQN is cut":             {func(o *sim.Options) { o.Unknowns.NQNMax = 89 }, "subsystem NQN", "read back"},
		"a long comment is cut":         {func(o *sim.Options) { o.Unknowns.CommentMax = 511 }, "probe disk", "512"},
		"a long slot is refused":        {func(o *sim.Options) { o.Unknowns.SlotMax = 31 }, "probe disk", "slot"},
		"connections end a while later": {func(o *sim.Options) { o.NVMe.EndDelay = 300 * time.Millisecond }, "fence, alone", "--fence-delay="},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, test.change)
			check := rds.Check{}
			if test.says == stillOpen {
				check.EndTimeout = 500 * time.Millisecond // it never ends
			}
			findings, err := checkedWith(t.Context(), t, r, check)
			finding := findings[test.finding]
			if finding.Result == rds.ResultOK || !strings.Contains(finding.Detail, test.says) {
				t.Errorf("%s: got %+v, want %q", test.finding, finding, test.says)
			}
			if failed := finding.Result == rds.ResultFailed; failed != (err != nil) {
				t.Errorf("got %v for a finding that is %s", err, finding.Result)
			}
			r.nothingLeft(t)
		})
	}
}

// However the appliance answers what nobody has documented, the driver works with it, or the check says that it doesn't.
// Either way nothing is left.
func TestCheckPassesWhateverTheDriverBears(t *testing.T) {
	for name, change := range map[string]func(*appliance.Unknowns){
		"an existing file is refused":       func(u *appliance.Unknowns) { u.ExistingFile = appliance.RefuseFile },
		"an existing file is truncated":     func(u *appliance.Unknowns) { u.ExistingFile = appliance.TruncateFile },
		"attaching makes a file":            func(u *appliance.Unknowns) { u.AttachMakesFile = true },
		"files are thin":                    func(u *appliance.Unknowns) { u.ThinFiles = true },
		"sizes show at once":                func(u *appliance.Unknowns) { u.LiveResize = true },
		"files shrink":                      func(u *appliance.Unknowns) { u.AllowShrink = true },
		"a used file isn't removed":         func(u *appliance.Unknowns) { u.RefuseLiveFileRemove = true },
		"an empty list is a text":           func(u *appliance.Unknowns) { u.EmptyListAsString = true },
		"control characters are raw":        func(u *appliance.Unknowns) { u.RawControls = true },
		"a file size may be auto":           func(u *appliance.Unknowns) { u.AutoFileSize = true },
		"paths have no slash":               func(u *appliance.Unknowns) { u.PathSpelling = appliance.Bare },
		"paths are found without a slash":   func(u *appliance.Unknowns) { u.PathSpelling = appliance.FoundBare },
		"a renamed export keeps its name":   func(u *appliance.Unknowns) { u.RenameNeedsReexport = true },
		"unmounted pools keep their places": func(u *appliance.Unknowns) { u.UnmountedKeepsMountPoint = true },
		"lost files are told":               func(u *appliance.Unknowns) { u.TellsOfLostFiles = true },
		"a file can't be shared":            func(u *appliance.Unknowns) { u.RefuseSharedFile = true },
		"only one line of an exec runs":     func(u *appliance.Unknowns) { u.FirstLineOnly = true },
		"SFTP shows sizes":                  func(u *appliance.Unknowns) { u.ExactSFTPSizes = true },
		"SFTP renames":                      func(u *appliance.Unknowns) { u.SFTPRename = true },
		"a lost channel ends a line":        func(u *appliance.Unknowns) { u.StopOnDisconnect = true },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(o *sim.Options) { change(&o.Unknowns) })
			if findings, err := checked(t.Context(), t, r); err != nil {
				t.Errorf("got %v, %+v", err, findings)
			}
			r.nothingLeft(t)
		})
	}
}

// What the check can't remove is a failure. It names what is there, and nothing else.
func TestACleanUpThatFailsIsAFailure(t *testing.T) {
	for name, test := range map[string]struct {
		fault            sim.FaultKind
		command          string
		names, leavesOut string
		disks, files     int
	}{
		"a file stays": {sim.FileStays, "/file remove", "file raid10/", "disk csi-", 0, 3},
		"a disk stays": {sim.HalfRemoveExport, "/disk remove", "disk csi-", "if they are there", 3, 3},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.sim.SetFault(func(command string) sim.Fault {
				if strings.Contains(command, test.command) {
					return sim.Fault{Kind: test.fault}
				}
				return sim.Fault{}
			})
			findings, err := checked(t.Context(), t, r)
			told := findings["clean-up"]
			if err == nil || told.Result != rds.ResultFailed || !strings.Contains(told.Detail, test.names) || strings.Contains(told.Detail, test.leavesOut) {
				t.Errorf("got %v, %+v", err, told)
			}
			if disks := r.sim.Disks(); len(disks) < test.disks {
				t.Errorf("%d disks are left, want the test to leave %d", len(disks), test.disks)
			}
			for _, disk := range r.sim.Disks() {
				if !strings.Contains(told.Detail, disk.Slot) {
					t.Errorf("disk %s is left and isn't named in %s", disk.Slot, told.Detail)
				}
			}
			if named := strings.Count(told.Detail, "file raid10/") - strings.Count(told.Detail, "backing file raid10/"); named != test.files {
				t.Errorf("%d files are named, want %d: %s", named, test.files, told.Detail)
			}
		})
	}
}
