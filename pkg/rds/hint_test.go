package rds_test

import (
	"errors"
	"strings"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
	"git.srvlab.io/whiskey/rds-csi-driver/test/simtest"
)

// Each way in which RouterOS may spell the path of a disk's file, and look for it.
func spellings() map[string]appliance.PathSpelling {
	return map[string]appliance.PathSpelling{"with a slash": appliance.Slashed, "without": appliance.Bare, "found without": appliance.FoundBare}
}

// A guard that never matches would let the file under somebody's disk be removed, or a second disk be made on it.
func TestAFileThatADiskRefersToIsLeftAlone(t *testing.T) {
	for name, spelling := range spellings() {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(o *sim.Options) { o.Unknowns.PathSpelling = spelling })
			disk := r.create(t)
			// An operator gave the disk another slot, between the look at it and the removal of the file, or before.
			r.execute(t, `/disk set [find where slot="`+disk.ID.Slot()+`"] slot="operator" comment="mine"`)
			if err := r.Delete(t.Context(), disk.ID, 0); !errors.Is(err, rds.ErrNotOurs) {
				t.Errorf("delete: got %v, want ErrNotOurs", err)
			}
			if _, err := r.tryCreate(t, rds.Size{Bytes: 64 * mebibyte}); !errors.Is(err, rds.ErrNotOurs) {
				t.Errorf("create: got %v, want ErrNotOurs", err)
			}
			if out := r.execute(t, `:put [:len [/file find where name="`+disk.ID.String()+`.img"]]`); out != "1" {
				t.Error("the file under the operator's disk is gone")
			}
			if disks := r.sim.Disks(); len(disks) != 1 {
				t.Errorf("got the disks %+v, want the operator's alone", disks)
			}
		})
		t.Run(name+" just before the removal", func(t *testing.T) {
			r := newRig(t, func(o *sim.Options) { o.Unknowns.PathSpelling = spelling })
			disk := r.create(t)
			r.sim.SetFault(func(command string) sim.Fault {
				if !strings.Contains(command, "/disk remove") {
					return sim.Fault{}
				}
				return sim.Fault{Kind: sim.Interleave, Lines: []string{`/disk set [find where slot="{slot}"] slot="operator" comment="mine"`}}
			})
			if err := r.Delete(t.Context(), disk.ID, 0); err == nil {
				t.Error("delete: got no error, though the disk is there under another slot")
			}
			if out := r.execute(t, `:put [:len [/file find where name="`+disk.ID.String()+`.img"]]`); out != "1" {
				t.Error("the file under the operator's disk is gone")
			}
		})
	}
}

// What RouterOS says is a hint. The state that was read back decides.
func TestWhatIsSaidIsAHint(t *testing.T) {
	r := newRig(t)
	disk := r.create(t)
	said := simtest.Console{Transport: simtest.SSH(t, r.config.SSH), Sim: r.sim, Change: strings.NewReplacer("-DONE\r\n", "-ERR failure: interrupted\r\n")}
	client := simtest.ClientOver(t, r.config.Config, said)
	held, err := client.Publish(t.Context(), disk, disk.Record.Publish("node-a/machine-a", "mount", "single-node-writer", false))
	if err != nil {
		t.Fatalf("publish: %v", err)
	}
	if got, err := client.Withdraw(t.Context(), held); err != nil || got.Exported {
		t.Errorf("withdraw: got %+v, %v, want it not exported", got, err)
	}
	if held, err = client.Get(t.Context(), disk.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Unpublish(t.Context(), held, held.Record.Unpublish("")); err != nil {
		t.Errorf("unpublish: %v", err)
	}
	for range 2 {
		if err := client.Delete(t.Context(), disk.ID, 0); err != nil {
			t.Errorf("delete: %v", err)
		}
	}
	// Without SFTP the directory is made over the console.
	r = newRig(t, withoutFTP)
	said.Transport, said.Sim = simtest.SSH(t, r.config.SSH), r.sim
	client = simtest.ClientOver(t, r.config.Config, said)
	if _, err := client.Create(t.Context(), disk.ID, rds.Size{Bytes: mebibyte}, rds.NewRecord(disk.ID, "pvc-1", "", "")); err != nil {
		t.Errorf("create: %v", err)
	}
	r.Client = client
	if findings, err := checked(t.Context(), t, r); err != nil {
		t.Errorf("check: %v, %+v", err, findings)
	}
}
