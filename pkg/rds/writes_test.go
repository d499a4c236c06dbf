package rds_test

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
	"git.srvlab.io/whiskey/rds-csi-driver/test/simtest"
)

// during has something happen within every command that contains the text, after so many of its statements.
func (r rig) during(containing string, statements int, fault sim.Fault) *sim.Injection {
	fault.Kind, fault.Statements = sim.Interleave, statements
	return r.sim.Inject(fault, sim.When{Command: regexp.MustCompile(regexp.QuoteMeta(containing))})
}

// another is a second controller of the same cluster, which remembers nothing.
func (r rig) another(t *testing.T) rig {
	t.Helper()
	return rig{Client: simtest.Client(t, r.config), sim: r.sim, config: r.config}
}

// operation is one that changes the export or the record of a disk.
type operation struct {
	held bool
	// statements is how many of its statements write, if it is done as seen.
	statements int
	run        func(t *testing.T, r rig, seen rds.Disk) (rds.Disk, error)
}

func operations() map[string]operation {
	return map[string]operation{
		"publish": {false, 3, func(t *testing.T, r rig, seen rds.Disk) (rds.Disk, error) {
			t.Helper()
			return r.Publish(t.Context(), seen, seen.Record.Publish("node-c/machine-c", "mount", "single-node-writer", false))
		}},
		"hand off": {true, 3, func(t *testing.T, r rig, seen rds.Disk) (rds.Disk, error) {
			t.Helper()
			return r.Publish(t.Context(), seen, seen.Record.Publish("node-c/machine-c", "mount", "single-node-writer", false))
		}},
		"unpublish": {true, 2, func(t *testing.T, r rig, seen rds.Disk) (rds.Disk, error) {
			t.Helper()
			return r.Unpublish(t.Context(), seen, seen.Record.Unpublish(""))
		}},
		"repair": {true, 1, func(t *testing.T, r rig, seen rds.Disk) (rds.Disk, error) {
			t.Helper()
			return r.Publish(t.Context(), seen, seen.Record)
		}},
		"withdraw": {true, 1, func(t *testing.T, r rig, seen rds.Disk) (rds.Disk, error) {
			t.Helper()
			return r.Withdraw(t.Context(), seen)
		}},
		"expand": {false, 2, func(t *testing.T, r rig, seen rds.Disk) (rds.Disk, error) {
			t.Helper()
			return r.Expand(t.Context(), seen, seen.Size+mebibyte)
		}},
	}
}

// begin is a disk in the state in which an operation is tried.
func (o operation) begin(t *testing.T, r rig) rds.Disk {
	t.Helper()
	disk := r.create(t)
	if o.held {
		disk = r.publish(t, disk)
	}
	return disk
}

// An appliance that says nothing of a write that came to nothing, or somebody who takes it back at once: only what is read
// back tells.
func TestAWriteThatIsTakenBackIsNoSuccess(t *testing.T) {
	const set = `/disk set [find where slot="{slot}"] `
	spoilt := map[string]map[string]string{
		"export":       {"publish": "nvme-tcp-export=no", "hand off": "nvme-tcp-export=no", "repair": "nvme-tcp-export=no", "unpublish": "nvme-tcp-export=yes", "withdraw": "nvme-tcp-export=yes"},
		"NQN":          {"": `nvme-tcp-server-nqn="nqn.odd"`, "withdraw": "", "expand": ""},
		"allowed host": {"": `nvme-tcp-server-allow-host-name="nqn.odd"`, "withdraw": "", "expand": ""},
		"size":         {"expand": "file-size=67108864"},
	}
	for what, operation := range operations() {
		for property, values := range spoilt {
			value, own := values[what]
			if !own {
				value = values[""]
			}
			if value == "" {
				continue // it promises nothing about that
			}
			t.Run(what+", "+property, func(t *testing.T) {
				r := newRig(t, func(o *sim.Options) { o.Unknowns.AllowShrink = true })
				r.config.HostNQN = func(nodeID string) string { return "nqn.of." + nodeID }
				r = r.another(t)
				seen := operation.begin(t, r)
				if what == "repair" {
					r.execute(t, strings.ReplaceAll(set, "{slot}", seen.ID.Slot())+`nvme-tcp-server-allow-host-name=""`)
					var err error
					if seen, err = r.Get(t.Context(), seen.ID); err != nil || seen.Consistent() {
						t.Fatalf("nothing to repair: %+v, %v", seen, err)
					}
				}
				taken := r.during("/disk set", operation.statements, sim.Fault{Lines: []string{set + value}})
				if got, err := operation.run(t, r, seen); !errors.Is(err, rds.ErrUnknownOutcome) {
					t.Errorf("got %+v, %v, want ErrUnknownOutcome", got, err)
				}
				if taken.Strikes() == 0 {
					t.Error("nothing was taken back")
				}
			})
		}
	}
}

// Wherever between the statements of an operation somebody else writes to the disk, that write stands whole: nothing that
// comes after belongs to a record that isn't there any more.
func TestWhoeverWritesInBetweenWins(t *testing.T) {
	others := map[string]func(rds.Record) rds.Record{
		"taken": func(now rds.Record) rds.Record {
			return now.Publish("node-b/machine-b", "mount", "single-node-writer", false)
		},
		"let go": func(now rds.Record) rds.Record { return now.Unpublish("") },
	}
	for what, operation := range operations() {
		for how, next := range others {
			for statements := range operation.statements + 1 {
				t.Run(fmt.Sprint(what, ", ", how, " after ", statements), func(t *testing.T) {
					r := newRig(t, func(o *sim.Options) { o.Unknowns.AllowShrink = true })
					seen := operation.begin(t, r)
					var won rds.Disk
					r.during("/disk set", statements, sim.Fault{Act: func(string) { won = r.another(t).overtake(t, seen, next) }})
					_, err := operation.run(t, r, seen)
					if !errors.As(err, new(*rds.ChangedError)) {
						t.Errorf("got %v, want a ChangedError", err)
					}
					got, err := r.Get(t.Context(), seen.ID)
					if err != nil || got.Record.Token != won.Record.Token || !got.Consistent() || got.Size != 2*seen.Size {
						t.Errorf("got %+v, %v, want what the other one wrote: %+v", got, err, won)
					}
				})
			}
		}
	}
}

// overtake lets a disk grow and writes its next record, whatever it is now.
func (r rig) overtake(t *testing.T, disk rds.Disk, next func(rds.Record) rds.Record) rds.Disk {
	t.Helper()
	r.sim.ClearFaults()
	now, err := r.Get(t.Context(), disk.ID)
	if err == nil {
		now, err = r.Expand(t.Context(), now, 2*disk.Size)
	}
	if err == nil {
		write, record := r.Unpublish, next(now.Record)
		if record.Held() {
			write = r.Publish
		}
		now, err = write(t.Context(), now, record)
	}
	if err != nil {
		t.Errorf("the other one: %v", err)
	}
	return now
}

// The old NQN goes while nobody can connect, and nobody can connect before the new record is there.
func TestASwitchGoesStepByStep(t *testing.T) {
	r := newRig(t)
	seen := r.publish(t, r.create(t))
	before := r.sim.Disks()[0]
	var steps []appliance.DiskInfo
	for statements := range 4 {
		r.during("/disk set", statements, sim.Fault{Act: func(string) { steps = append(steps, r.sim.Disks()[0]) }})
		next, err := operations()["hand off"].run(t, r, seen)
		if err != nil {
			t.Fatal(err)
		}
		r.sim.ClearFaults()
		after := r.sim.Disks()[0]
		want := []appliance.DiskInfo{before, before, after, after}[statements]
		want.Exported = statements == 0 || statements == 3
		if got := steps[statements]; got != want {
			t.Errorf("after %d statements: got %+v, want %+v", statements, got, want)
		}
		seen, before = next, after
	}
}

// Somebody who switches the export on again while it is switched off must not let anybody in under a record without holders.
func TestAnExportThatCameBackIsTakenAwayWithTheRecord(t *testing.T) {
	r := newRig(t)
	held := r.publish(t, r.create(t))
	r.during("/disk set", 1, sim.Fault{Lines: []string{`/disk set [find where slot="{slot}"] nvme-tcp-export=yes`}})
	if free, err := r.Unpublish(t.Context(), held, held.Record.Unpublish("")); err != nil || free.Exported || r.sim.Disks()[0].Exported {
		t.Errorf("got %+v, %v, want it not exported", free, err)
	}
}

// A publish may be on its way while its volume is deleted. It misses, even where the removal comes to nothing, and a disk
// is out of everybody's reach before it is removed.
func TestADeletionBeginsWithARecordThatNobodyHasSeen(t *testing.T) {
	r := newRig(t)
	seen := r.create(t)
	r.execute(t, `/disk set [find where slot="`+seen.ID.Slot()+`"] nvme-tcp-export=yes`)
	refused := r.sim.Inject(sim.Fault{Kind: sim.LosePolicy, Policy: "write"}, sim.When{Command: regexp.MustCompile("/disk remove")})
	if err := r.Delete(t.Context(), seen.ID, 0); !errors.Is(err, rds.ErrPermission) || refused.Strikes() == 0 {
		t.Fatalf("delete: got %v, want ErrPermission", err)
	}
	if r.sim.Disks()[0].Exported {
		t.Error("it was to be removed while it was exported")
	}
	late := operations()["publish"]
	if _, err := late.run(t, r.another(t), seen); !errors.As(err, new(*rds.ChangedError)) {
		t.Errorf("the publish: got %v, want a ChangedError", err)
	}
	r.sim.ClearFaults()
	if err := r.Delete(t.Context(), seen.ID, 0); err != nil {
		t.Error(err)
	}
}

// What a first write that failed was to make sure isn't sure.
func TestADeletionEndsWithItsFirstWrite(t *testing.T) {
	r := newRig(t)
	disk := r.create(t)
	r.sim.Inject(sim.Fault{Kind: sim.Reject, Line: "failure: busy"}, sim.When{Command: regexp.MustCompile("/disk set")})
	if err := r.Delete(t.Context(), disk.ID, 0); !errors.Is(err, rds.ErrUnknownOutcome) || len(r.sim.Disks()) != 1 {
		t.Errorf("got %v, disks %+v, want ErrUnknownOutcome and the disk", err, r.sim.Disks())
	}
}

// Somebody may publish the volume just before its disk is removed, or give the disk another file.
func TestADiskThatWasWrittenToIsNotRemoved(t *testing.T) {
	for name, meanwhile := range map[string]func(*testing.T, rig, rds.Disk) sim.Fault{
		"published": func(t *testing.T, r rig, disk rds.Disk) sim.Fault {
			t.Helper()
			return sim.Fault{Act: func(string) {
				r.another(t).overtake(t, disk, func(now rds.Record) rds.Record {
					return now.Publish("node-b/machine-b", "mount", "single-node-writer", false)
				})
			}}
		},
		"on another file": func(*testing.T, rig, rds.Disk) sim.Fault {
			return sim.Fault{Lines: []string{
				`/file add name="raid10/moved" type=directory`,
				`/disk set [find where slot="{slot}"] file-path="/raid10/moved/mine.img" comment="mine"`,
			}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			disk := r.create(t)
			r.during("/disk remove", 0, meanwhile(t, r, disk))
			err := r.Delete(t.Context(), disk.ID, 0)
			if changed := errors.As(err, new(*rds.ChangedError)); changed != (name == "published") || !changed && !errors.Is(err, rds.ErrNotOurs) {
				t.Errorf("got %v, want a ChangedError, or ErrNotOurs for the other file", err)
			}
			if disks := r.sim.Disks(); len(disks) != 1 || disks[0].Exported != (name == "published") {
				t.Errorf("got the disks %+v, want the one as it was written", disks)
			}
			if out := r.execute(t, `:put [:len [/file find where name="`+disk.ID.String()+`.img"]]`); out != "1" {
				t.Error("its file is gone")
			}
		})
	}
}

// What an outdated record says of holders doesn't count, whether a grant tells that it is outdated or what was seen.
func TestADiskThatWentBackIsNotDeleted(t *testing.T) {
	r := newRig(t)
	disk := r.create(t)
	old := r.commentOf(t, disk)
	if err := r.Delete(t.Context(), disk.ID, disk.Record.Generation+1); !errors.Is(err, rds.ErrWentBack) {
		t.Errorf("granted since: got %v, want ErrWentBack", err)
	}
	r.publish(t, disk)
	r.damage(t, disk, old)
	if err := r.Delete(t.Context(), disk.ID, 0); !errors.Is(err, rds.ErrWentBack) {
		t.Errorf("seen since: got %v, want ErrWentBack", err)
	}
	if len(r.sim.Disks()) != 1 {
		t.Error("the disk is gone")
	}
	if err := r.another(t).Delete(t.Context(), disk.ID, disk.Record.Generation); err != nil {
		t.Errorf("granted as it is: %v", err)
	}
}

// A slot follows from a name, and two names with one slot are two volumes all the same.
func TestAnotherNameIsAnotherVolume(t *testing.T) {
	r := newRig(t)
	disk := r.create(t)
	if got, err := r.Create(t.Context(), disk.ID, rds.Size{Bytes: 64 * mebibyte}, rds.NewRecord(disk.ID, "pvc-2", "", "")); !errors.Is(err, rds.ErrExists) || !strings.Contains(err.Error(), "pvc-1") {
		t.Errorf("got %+v, %v, want ErrExists that says whose it is", got, err)
	}
}

// Of two disks in one slot, or on one file, neither is provably the volume's.
func TestOfTwoDisksNeitherIsTheVolumes(t *testing.T) {
	for name, add := range map[string]func(*testing.T, rig, rds.Disk){
		"one slot": func(t *testing.T, r rig, disk rds.Disk) {
			t.Helper()
			r.sim.Inject(sim.Fault{Kind: sim.DuplicateSlot}, sim.Once())
			if _, err := r.Get(t.Context(), disk.ID); !errors.Is(err, rds.ErrNotOurs) {
				t.Fatal(err)
			}
		},
		"one file": func(t *testing.T, r rig, disk rds.Disk) {
			t.Helper()
			r.execute(t, fmt.Sprintf(`/disk add type=file slot="second" file-path="/%s.img" comment="mine"`, disk.ID))
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			disk := r.create(t)
			add(t, r, disk)
			before := r.sim.Disks()
			for what, err := range map[string]error{
				"get":            second(r.Get(t.Context(), disk.ID)),
				"foreign record": second(r.ForeignRecord(t.Context(), disk.ID)),
				"create":         second(r.tryCreate(t, rds.Size{Bytes: mebibyte})),
				"mend":           second(r.Mend(t.Context(), disk.ID, "pvc-1")),
				"delete":         r.Delete(t.Context(), disk.ID, 0),
			} {
				if !errors.Is(err, rds.ErrNotOurs) || !strings.Contains(err.Error(), "2 disks") {
					t.Errorf("%s: got %v, want ErrNotOurs that says that there are two", what, err)
				}
			}
			if after := r.sim.Disks(); len(before) != 2 || !slices.Equal(before, after) {
				t.Errorf("the disks %+v became %+v", before, after)
			}
		})
	}
}
