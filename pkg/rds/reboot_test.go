package rds_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
	"git.srvlab.io/whiskey/rds-csi-driver/test/simtest"
)

// While the appliance comes up, every list may be empty. Nothing may be taken for gone until it has been up for a while.
func TestAnEmptyListingAfterARebootProvesNothing(t *testing.T) {
	for name, boot := range map[string]appliance.Boot{"pools unmounted": {}, "empty listings": {EmptyListings: true}} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			disk := r.create(t)
			if err := r.sim.Reboot(t.Context(), boot); err != nil {
				t.Fatal(err)
			}
			for phase := r.sim.Phase(); ; phase = r.sim.Phase() {
				if _, err := r.Get(t.Context(), disk.ID); errors.Is(err, rds.ErrNotFound) {
					t.Errorf("%s: get says that the volume is gone", phase)
				}
				if disks, err := r.List(t.Context()); err == nil && len(disks) == 0 {
					t.Errorf("%s: list says that every volume is gone", phase)
				}
				if err := r.Delete(t.Context(), disk.ID, 0); err == nil {
					t.Errorf("%s: delete says that the volume is gone", phase)
				}
				if _, err := r.Survey(t.Context(), "rds-csi"); err == nil && phase != appliance.Up {
					t.Errorf("%s: the survey is believed", phase)
				}
				if phase == appliance.Up {
					break
				}
				r.sim.NextPhase()
			}
			r.sim.Advance(time.Hour)
			if _, err := r.Get(t.Context(), disk.ID); err != nil {
				t.Errorf("once it is up for good: %v", err)
			}
		})
	}
}

// What is listed is there, however short the appliance has been up; only what isn't may be there all the same.
func TestDisksThatAreListedWhileTheApplianceBootsAreGiven(t *testing.T) {
	r := newRig(t)
	disk := r.create(t)
	if err := r.sim.Reboot(t.Context(), appliance.Boot{}); err != nil {
		t.Fatal(err)
	}
	for r.sim.Phase() != appliance.Up {
		r.sim.NextPhase()
	}
	disks, err := r.List(t.Context())
	if !errors.Is(err, rds.ErrNotReady) || len(disks) != 1 || disks[0].ID != disk.ID {
		t.Errorf("got %+v, %v, want the disk and ErrNotReady", disks, err)
	}
	r.sim.Advance(time.Hour)
	if disks, err = r.List(t.Context()); err != nil || len(disks) != 1 {
		t.Errorf("once it is up for good: got %+v, %v", disks, err)
	}
}

// Without the policy ftp, files are made and looked at over the menu /file.
func TestWithoutSFTP(t *testing.T) {
	r := newRig(t, func(o *sim.Options) {
		o.Users[0].Policies = &appliance.Policies{SSH: true, Read: true, Write: true, Test: true}
	})
	disk := r.create(t)
	survey, err := r.Survey(t.Context(), "rds-csi")
	if err != nil || len(survey.Disks) != 1 {
		t.Errorf("survey: got %+v, %v, want the one disk", survey, err)
	}
	if err := r.Delete(t.Context(), disk.ID, 0); err != nil {
		t.Errorf("delete: %v", err)
	}
	if _, err := r.Get(t.Context(), disk.ID); !errors.Is(err, rds.ErrNotFound) {
		t.Errorf("got %v, want ErrNotFound", err)
	}
}

// What a missing policy keeps from happening is said as such, whatever the command was.
func TestMissingPoliciesAreTyped(t *testing.T) {
	r := newRig(t, func(o *sim.Options) {
		o.Users[0].Policies = &appliance.Policies{SSH: true, Read: true, Test: true}
	})
	_, err := r.Create(t.Context(), volumeID(t, "pvc-1"), rds.Size{Bytes: 64 * mebibyte}, rds.NewRecord(volumeID(t, "pvc-1"), "pvc-1", "", ""))
	if !errors.Is(err, rds.ErrPermission) {
		t.Errorf("create without policy write: got %v, want ErrPermission", err)
	}
}

// A file that /file leaves out at first is seen by another look, over SFTP or later, whether the disk is there or not.
func TestDeleteLooksTwiceForTheFile(t *testing.T) {
	for name, change := range map[string]func(*sim.Options){"over SFTP": func(*sim.Options) {}, "over the console": withoutFTP} {
		for _, left := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", disk gone already ", left), func(t *testing.T) {
				r := newRig(t, change)
				disk := r.create(t)
				if left {
					r.execute(t, `/disk remove [find where slot="`+disk.ID.Slot()+`"]`)
				}
				r.sim.SetFault(once(sim.Fault{Kind: sim.FilesUnlisted}, "/file remove"))
				err := r.Delete(t.Context(), disk.ID, 0)
				if !errors.Is(err, rds.ErrUnknownOutcome) || !strings.Contains(err.Error(), "still there") {
					t.Errorf("got %v, want an error that says the file is still there", err)
				}
				if err := r.Delete(t.Context(), disk.ID, 0); err != nil {
					t.Errorf("again: %v", err)
				}
				if out := r.execute(t, `:put [:len [/file find where name="`+disk.ID.String()+`.img"]]`); out != "0" {
					t.Error("the file is still there")
				}
			})
		}
	}
}

// unlisting is a transport that can't list files for another reason than that it has none.
type unlisting struct{ rds.Transport }

func (unlisting) ListFiles(context.Context, string) ([]string, error) {
	return nil, fmt.Errorf("%w: the channel was closed", rds.ErrIncomplete)
}

// The other look may fail, or find the appliance in a state that proves nothing. Then the volume isn't deleted yet.
func TestAnotherLookThatFailsProvesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*sim.Options)
		client func(*testing.T, rig) rig
		want   error
	}{
		"the list of files fails": {func(*sim.Options) {}, func(t *testing.T, r rig) rig {
			t.Helper()
			return rig{Client: simtest.ClientOver(t, r.config.Config, unlisting{simtest.SSH(t, r.config.SSH)}), sim: r.sim, config: r.config}
		}, rds.ErrUnreachable},
		"the pool isn't mounted any more": {withoutFTP, func(_ *testing.T, r rig) rig { return r }, rds.ErrNotReady},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, c.change)
			disk, removing := r.create(t), false
			client := c.client(t, r)
			r.sim.SetFault(func(command string) sim.Fault {
				switch {
				case strings.Contains(command, "/file remove"):
					removing = true
					return sim.Fault{Kind: sim.FilesUnlisted}
				case removing:
					return sim.Fault{Kind: sim.PoolUnmounted}
				}
				return sim.Fault{}
			})
			if err := client.Delete(t.Context(), disk.ID, 0); !errors.Is(err, c.want) || !removing {
				t.Errorf("got %v, want %v", err, c.want)
			}
			r.sim.SetFault(nil)
			if out := r.execute(t, `:put [:len [/file find where name="`+disk.ID.String()+`.img"]]`); out != "1" {
				t.Error("the file is gone, so that nothing was tested")
			}
		})
	}
}
