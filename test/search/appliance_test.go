package search

import (
	"os"
	"strings"
	"testing"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/export"
)

const (
	pool      = "raid10"
	directory = "rds-csi"
	clusterID = "cluster-1"
	// flashDelay is how much of what was written last a power cut loses, and backupAge the age of a backup that is restored
	// instead, in some schedules.
	flashDelay = 20 * time.Second
	backupAge  = 3 * time.Minute
	// bootWindow is how long after its start the appliance's silence proves nothing.
	bootWindow = rds.DefaultBootWindow
)

// storage is the simulated appliance, with what it does to the lines that are sent to it.
type storage struct {
	e         *engine
	appliance *appliance.Appliance
	exports   *export.Registry
	// trouble makes lines fail, one in so many; 0 for none.
	trouble int
	// hangs has the next line that writes be stuck for long.
	hangs bool
	// fates are those that lines meet in this schedule.
	fates []func(*storage, *fate, string)
	// boots counts how often it went down. A line that was on its way then had a connection, which ended.
	boots int
	// running counts the lines that are being carried out.
	running int
	// sent is told which actor carries out the line that another sent, and after of every statement that was carried out.
	sent  func(sender, line *actor)
	after func()
	// changed is told of everything that may have changed what is exported or written.
	changed func()
	// down is told that the appliance goes down, losing what it wrote last or not.
	down func(losing bool)
	// accidents counts what may take a disk or its file away: that it went down, or that somebody removed a file.
	accidents int
	// tidied says that somebody removes the disks that share a slot.
	tidied bool
	// adding counts the lines on their way that add a disk.
	adding int
	// lossy appliances lose what they wrote last in a power cut.
	lossy bool
	// looked is what was seen last, until anything was done.
	looked []appliance.DiskInfo
	parsed map[string]rds.Record
}

// touch forgets what was seen.
func (s *storage) touch() {
	s.looked = nil
	s.changed()
}

func newStorage(t *testing.T, e *engine, folder string) *storage {
	t.Helper()
	exports := export.New(export.Options{RevokeWait: time.Nanosecond, StableIdentity: true})
	lost := flashDelay
	if e.chance(4) {
		lost = backupAge
	}
	device, err := appliance.Open(appliance.Options{
		StateDir: folder, Pools: []appliance.Pool{{Name: pool, Size: appliance.GiB}}, Uptime: 24 * time.Hour,
		Exports: exports, FlashDelay: lost, Volatile: true,
		Unknowns: appliance.Unknowns{ThinFiles: true, RenameNeedsReexport: e.chance(2), StopOnDisconnect: e.chance(2)},
	})
	if err != nil {
		t.Fatal(err)
	}
	return &storage{e: e, appliance: device, exports: exports, lossy: e.chance(2), fates: some(e, fates), parsed: map[string]rds.Record{}}
}

// newFolder gives a folder for an appliance's state, in memory where there is one.
func newFolder(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp("/dev/shm", "rds-csi-search-") //nolint:usetesting // the test's own folder may be on a slow disk
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	return folder
}

// reboot takes the appliance down and brings it back, in its own time.
func (s *storage) reboot(boot appliance.Boot) {
	boot.PowerCut = boot.PowerCut && s.lossy
	s.e.log("the appliance goes down: %+v", boot)
	s.boots++
	s.accidents++
	s.down(boot.PowerCut)
	if err := s.appliance.PowerOff(boot); err != nil {
		s.e.violation = err
	}
	s.touch()
	s.e.sleep(time.Duration(s.e.random.IntN(20000)) * time.Millisecond)
	s.appliance.NextPhase()
	s.touch()
	s.e.sleep(time.Duration(s.e.random.IntN(10000)) * time.Millisecond)
	s.appliance.NextPhase()
	s.touch()
	s.e.log("the appliance is back")
}

// disk is a volume as the appliance has it.
type disk struct {
	appliance.DiskInfo
	record rds.Record
}

func (s *storage) disk(v *volume) (disk, bool) {
	if s.looked == nil {
		s.looked = s.appliance.Disks()
	}
	for _, info := range s.looked {
		if !strings.HasSuffix(v.handle, info.Slot) || info.Comment == appliance.OperatorComment {
			continue
		}
		record, known := s.parsed[info.Comment]
		if !known {
			var err error
			if record, err = rds.ParseRecord(info.Comment); err != nil {
				return disk{}, false
			}
			s.parsed[info.Comment] = record
		}
		return disk{info, record}, true
	}
	return disk{}, false
}
