package rds_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
	"git.srvlab.io/whiskey/rds-csi-driver/test/simtest"
)

// tryCreate is another attempt to create one and the same volume.
func (r rig) tryCreate(t *testing.T, size rds.Size) (rds.Disk, error) {
	t.Helper()
	return r.Create(t.Context(), volumeID(t, "pvc-1"), size, rds.NewRecord(volumeID(t, "pvc-1"), "pvc-1", "", ""))
}

// leaveFile leaves a volume's backing file without its disk, and returns where the simulator keeps it.
func (r rig) leaveFile(t *testing.T, size int64) string {
	t.Helper()
	disk, err := r.tryCreate(t, rds.Size{Bytes: size})
	if err != nil {
		t.Fatal(err)
	}
	file := r.sim.Disks()[0].File
	r.execute(t, `/disk remove [find where slot="`+disk.ID.Slot()+`"]`)
	return file
}

// /file lists a new directory late: the first volume on a pool waits for it, within bounds.
func TestTheFirstVolumeWaitsForItsDirectory(t *testing.T) {
	for name, change := range map[string]func(*sim.Options){"over SFTP": func(*sim.Options) {}, "over the console": withoutFTP} {
		for _, late := range []int32{0, 1, 2, 100} {
			t.Run(fmt.Sprint(name, " ", late), func(t *testing.T) {
				r := newRig(t, change)
				var adds atomic.Int32
				r.sim.SetFault(func(command string) sim.Fault {
					// The first attempt finds no directory.
					if !strings.Contains(command, "/disk add") || adds.Add(1) == 1 || adds.Load() > 1+late {
						return sim.Fault{}
					}
					return sim.Fault{Kind: sim.NothingListed}
				})
				_, err := r.tryCreate(t, rds.Size{Bytes: mebibyte})
				if late < 100 && err != nil || late == 100 && !errors.Is(err, rds.ErrNotReady) {
					t.Errorf("got %v", err)
				}
			})
		}
	}
}

// Whatever cuts the growth of a file short that was itself cut short, and however often: the next attempt finishes it.
func TestCreateFinishesWhatWasCutShort(t *testing.T) {
	for name, fault := range map[string]sim.Fault{
		"nothing was done":    {Kind: sim.DropBefore},
		"the comment only":    {Kind: sim.DropAfter, Statements: 1},
		"the pool was full":   {Kind: sim.PoolFull},
		"the reply was lost":  {Kind: sim.ReplyLost},
		"the reply was short": {Kind: sim.Truncate, Keep: 20},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.leaveFile(t, 16*mebibyte)
			r.sim.SetFault(func(command string) sim.Fault {
				if strings.Contains(command, "/disk set") {
					return fault
				}
				return sim.Fault{}
			})
			for range 2 {
				if disk, err := r.tryCreate(t, rds.Size{Bytes: 64 * mebibyte}); err == nil && disk.Size < 64*mebibyte {
					t.Errorf("passed off %d bytes for 64 MiB", disk.Size)
				}
			}
			r.sim.SetFault(nil)
			disk, err := simtest.Client(t, r.config).Create(t.Context(), volumeID(t, "pvc-1"), rds.Size{Bytes: 64 * mebibyte}, rds.NewRecord(volumeID(t, "pvc-1"), "pvc-1", "", ""))
			if err != nil || disk.Size != 64*mebibyte {
				t.Errorf("got %+v, %v, want 64 MiB", disk, err)
			}
		})
	}
}

// What was made whole, or was in somebody's hands, keeps its size whatever is asked for under its name.
func TestCreateLeavesAFinishedVolumeAlone(t *testing.T) {
	r := newRig(t)
	r.create(t)
	if disk, err := r.tryCreate(t, rds.Size{Bytes: 128 * mebibyte}); err != nil || disk.Size != 64*mebibyte {
		t.Errorf("made whole: got %+v, %v, want its 64 MiB", disk, err)
	}
	r = newRig(t)
	r.leaveFile(t, 64*mebibyte)
	held := r.publish(t, r.create(t))
	if disk, err := r.tryCreate(t, rds.Size{Bytes: 128 * mebibyte}); err != nil || disk.Size != 64*mebibyte {
		t.Errorf("held: got %+v, %v, want its 64 MiB", disk, err)
	}
	if _, err := r.Unpublish(t.Context(), held, held.Record.Unpublish("")); err != nil {
		t.Fatal(err)
	}
	if disk, err := r.tryCreate(t, rds.Size{Bytes: 128 * mebibyte}); err != nil || disk.Size != 64*mebibyte {
		t.Errorf("let go: got %+v, %v, want its 64 MiB", disk, err)
	}
}

// A file beyond the limit stays a file: with a disk it would be a volume that nobody asked for.
func TestCreateLeavesAFileBeyondTheLimitAlone(t *testing.T) {
	r := newRig(t)
	r.leaveFile(t, 64*mebibyte)
	for range 2 {
		if _, err := r.tryCreate(t, rds.Size{Bytes: 16 * mebibyte, Limit: 64*mebibyte - 1}); !errors.Is(err, rds.ErrExists) || !strings.Contains(err.Error(), "limit") {
			t.Errorf("got %v, want ErrExists that names the limit", err)
		}
		if disks := r.sim.Disks(); len(disks) != 0 {
			t.Errorf("a disk was added: %+v", disks)
		}
	}
	disk, err := r.tryCreate(t, rds.Size{Bytes: 16 * mebibyte, Limit: 64 * mebibyte})
	if err != nil || disk.Size != 64*mebibyte {
		t.Errorf("at the limit: got %+v, %v, want the file as it was", disk, err)
	}
	// This is kept on the appliance as well: a later version must know it.
	if want := disk.ID.SubsystemPrefix() + "unfinished-" + disk.Record.Token; disk.SubsystemNQN != want {
		t.Errorf("its subsystem NQN is %q, want %q", disk.SubsystemNQN, want)
	}
}

// The states in which a create may find the backing file of a lost disk, and what RouterOS may do about it.
func findings() map[string]func(*sim.Options) {
	all := map[string]func(*sim.Options){}
	for name, existing := range map[string]appliance.ExistingFile{"reused": appliance.ReuseFile, "refused": appliance.RefuseFile, "emptied": appliance.TruncateFile} {
		for _, makes := range []bool{false, true} {
			all[fmt.Sprintf("%s, attach makes a file %t", name, makes)] = func(o *sim.Options) {
				o.Unknowns.ExistingFile, o.Unknowns.AttachMakesFile = existing, makes
			}
		}
	}
	return all
}

// /file lists a file late. What a create doesn't see there may hold data all the same.
func TestCreateKeepsAFileThatIsNotListed(t *testing.T) {
	for name, finding := range findings() {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, finding)
			file := r.leaveFile(t, 64*mebibyte)
			writeAt0(t, file, "data")
			r.sim.SetFault(func(string) sim.Fault { return sim.Fault{Kind: sim.FilesUnlisted} })
			disk, err := r.tryCreate(t, rds.Size{Bytes: 64 * mebibyte})
			if err != nil || disk.Size != 64*mebibyte {
				t.Errorf("got %+v, %v, want a disk on the file", disk, err)
			}
			if got, err := os.ReadFile(file); err != nil || !strings.HasPrefix(string(got), "data") {
				t.Errorf("the file's data is gone (%v)", err)
			}
		})
	}
}

// Whatever RouterOS makes of an attempt to attach what isn't there, a new volume has its size.
func TestCreateMakesAFile(t *testing.T) {
	for name, finding := range findings() {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, finding)
			disk, err := r.tryCreate(t, rds.Size{Bytes: 64 * mebibyte})
			if err != nil || disk.Size != 64*mebibyte || disk.Exported {
				t.Errorf("got %+v, %v, want a disk of 64 MiB", disk, err)
			}
		})
	}
}

// A file may come to be at any moment of a create, and what wasn't there before may be somebody's all the same.
func TestACreateThatIsRefusedRemovesNothing(t *testing.T) {
	for statements := range 5 {
		r := newRig(t, func(o *sim.Options) { o.Unknowns.ExistingFile = appliance.RefuseFile })
		r.create(t)
		disk := r.sim.Disks()[0]
		if err := r.Delete(t.Context(), volumeID(t, "pvc-1"), 0); err != nil {
			t.Fatal(err)
		}
		r.sim.SetFault(func(command string) sim.Fault {
			if !strings.Contains(command, "/disk add") {
				return sim.Fault{}
			}
			return sim.Fault{Kind: sim.Interleave, Statements: statements, Lines: []string{`/file add name="{file}"`}}
		})
		_, err := r.tryCreate(t, rds.Size{Bytes: 64 * mebibyte})
		if _, gone := os.Stat(disk.File); gone != nil {
			t.Errorf("the file came after %d statements; create: %v; then: %v", statements, err, gone)
		}
	}
}

func writeAt0(t *testing.T, name, text string) {
	t.Helper()
	file, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteAt([]byte(text), 0); err != nil {
		t.Error(err)
	}
	if err := file.Close(); err != nil {
		t.Error(err)
	}
}
