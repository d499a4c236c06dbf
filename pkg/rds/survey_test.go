package rds_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
	"git.srvlab.io/whiskey/rds-csi-driver/test/simtest"
)

func secondPool(o *sim.Options) {
	o.Pools = append(o.Pools, appliance.Pool{Name: "spare", Size: appliance.GiB})
}

func withoutFTP(o *sim.Options) {
	o.Users[0].Policies = &appliance.Policies{SSH: true, Read: true, Write: true, Test: true}
}

func (r rig) createOn(t *testing.T, pool, directory, name string) rds.Disk {
	t.Helper()
	id, err := rds.NewVolumeID(pool, directory, r.config.ClusterID, name)
	if err != nil {
		t.Fatal(err)
	}
	disk, err := r.Create(t.Context(), id, rds.Size{Bytes: 16 * mebibyte}, rds.NewRecord(id, name, "", ""))
	if err != nil {
		t.Fatal(err)
	}
	return disk
}

// ofCluster is another cluster's client of the same appliance.
func (r rig) ofCluster(t *testing.T, cluster string) rig {
	t.Helper()
	config := r.config
	config.ClusterID = cluster
	return rig{Client: simtest.Client(t, config), sim: r.sim, config: config}
}

func ids(disks []rds.Disk) []string {
	var names []string
	for _, disk := range disks {
		names = append(names, disk.ID.String())
	}
	slices.Sort(names)
	return names
}

func TestSurvey(t *testing.T) {
	for name, change := range map[string]func(*sim.Options){"over SFTP": func(*sim.Options) {}, "over the console": withoutFTP} {
		t.Run(name, func(t *testing.T) {
			wantExecs := int32(2)
			if name == "over the console" {
				wantExecs += 3 // one for each folder
			}
			r := newRig(t, secondPool, change)
			kept, other, elsewhere := r.create(t), r.createOn(t, "spare", "rds-csi", "pvc-2"), r.createOn(t, simtest.Pool, "old/place", "pvc-3")
			lost := r.createOn(t, "spare", "rds-csi", "pvc-4")
			r.execute(t, `/disk remove [find where slot="`+lost.ID.Slot()+`"]`)
			displaced := r.createOn(t, simtest.Pool, "old/place", "pvc-5")
			r.execute(t, `/disk remove [find where slot="`+displaced.ID.Slot()+`"]`)
			r.execute(t, `/file add name="raid10/rds-csi/stray.img" type=file; /file add name="raid10/rds-csi/`+kept.ID.Slot()+`.img.bak" type=file`)
			// In a directory of somebody's, and without the ending of an image.
			r.execute(t, `/file add name="raid10/rds-csi/sub" type=directory; /file add name="raid10/rds-csi/sub/`+lost.ID.Slot()+`.img" type=file; /file add name="raid10/rds-csi/`+lost.ID.Slot()+`" type=file`)
			theirs := r.ofCluster(t, "cluster-2").createOn(t, simtest.Pool, "rds-csi", "theirs")
			spoilt := r.createOn(t, simtest.Pool, "rds-csi", "pvc-6")
			r.execute(t, `/disk set [find where slot="`+spoilt.ID.Slot()+`"] comment="an operator was here"`)
			var execs atomic.Int32
			r.sim.SetFault(func(command string) sim.Fault {
				if strings.Contains(command, "print") {
					execs.Add(1)
				}
				return sim.Fault{}
			})
			got, err := r.Survey(t.Context(), "rds-csi")
			if err != nil {
				t.Fatal(err)
			}
			if n := execs.Load(); n != wantExecs {
				t.Errorf("it took %d execs, want %d", n, wantExecs)
			}
			slices.Sort(got.Others)
			slices.Sort(got.Files)
			want := []string{lost.ID.String() + ".img", displaced.ID.String() + ".img"}
			slices.Sort(want)
			for name, diff := range map[string]string{
				"pools":  cmp.Diff([]string{"raid10", "spare"}, slices.Sorted(slices.Values(got.Pools))),
				"disks":  cmp.Diff(ids([]rds.Disk{kept, other, elsewhere}), ids(got.Disks)),
				"others": cmp.Diff(ids([]rds.Disk{theirs, spoilt}), got.Others),
				"files":  cmp.Diff(want, got.Files),
			} {
				if diff != "" {
					t.Errorf("%s (-want +got):\n%s", name, diff)
				}
			}
		})
	}
}

// What is made or deleted between any two of the listings must not look like a file that is nobody's.
func TestASurveyIsNotFooledByWhatHappensMeanwhile(t *testing.T) {
	actions := map[string]func(t *testing.T, r rig, gone rds.Disk){
		"made": func(t *testing.T, r rig, _ rds.Disk) {
			t.Helper()
			r.createOn(t, simtest.Pool, "rds-csi", "pvc-2")
		},
		"deleted": func(t *testing.T, r rig, gone rds.Disk) {
			t.Helper()
			if err := r.Delete(t.Context(), gone.ID, 0); err != nil {
				t.Error(err)
			}
		},
	}
	for way, change := range map[string]func(*sim.Options){"over SFTP": func(*sim.Options) {}, "over the console": withoutFTP} {
		for what, act := range actions {
			t.Run(way+" "+what, func(t *testing.T) {
				for exec := 1; exec <= 2; exec++ {
					for statements := range 5 {
						r := newRig(t, change)
						gone := r.create(t)
						second := r.ofCluster(t, simtest.ClusterID)
						seen, acted := 0, false
						r.sim.SetFault(func(command string) sim.Fault {
							if seen++; seen != exec {
								return sim.Fault{}
							}
							r.sim.SetFault(nil)
							return sim.Fault{Kind: sim.Interleave, Statements: statements, Act: func(string) { act(t, second, gone); acted = true }}
						})
						got, err := r.Survey(t.Context(), "rds-csi")
						if err != nil || len(got.Files) > 0 {
							t.Errorf("exec %d after %d statements: got files %v, %v, want none", exec, statements, got.Files, err)
						}
						if !acted && statements < 3 {
							t.Errorf("exec %d after %d statements: nothing happened meanwhile", exec, statements)
						}
					}
				}
			})
		}
	}
}

func TestNoSurveyOfAnApplianceThatIsNotReady(t *testing.T) {
	for name, boot := range map[string]appliance.Boot{"pools unmounted": {}, "empty listings": {EmptyListings: true}} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.create(t)
			if err := r.sim.Reboot(t.Context(), boot); err != nil {
				t.Fatal(err)
			}
			for phase := r.sim.Phase(); phase != appliance.Up; phase = r.sim.NextPhase() {
				if _, err := r.Survey(t.Context(), "rds-csi"); !errors.Is(err, rds.ErrNotReady) && !errors.Is(err, rds.ErrUnreachable) {
					t.Errorf("%s: got %v, want ErrNotReady or ErrUnreachable", phase, err)
				}
			}
			if _, err := r.Survey(t.Context(), "rds-csi"); !errors.Is(err, rds.ErrNotReady) {
				t.Errorf("just up: got %v, want ErrNotReady", err)
			}
			r.sim.Advance(time.Hour)
			if _, err := r.Survey(t.Context(), "rds-csi"); err != nil {
				t.Error(err)
			}
		})
	}
}

// A pool that is missing for long, after somebody pulled its drives for instance, isn't excused by the boot window.
func TestNoSurveyWhileAPoolOfOursIsMissing(t *testing.T) {
	r := newRig(t)
	r.create(t)
	r.sim.Inject(sim.Fault{Kind: sim.PoolUnmounted}, sim.When{})
	if _, err := r.Survey(t.Context(), "rds-csi"); !errors.Is(err, rds.ErrNotReady) || !strings.Contains(err.Error(), simtest.Pool) {
		t.Errorf("got %v, want ErrNotReady that names the pool", err)
	}
}

func TestASurveysDirectoryIsChecked(t *testing.T) {
	var field *rds.FieldError
	if _, err := newRig(t).Survey(t.Context(), `x"; /disk remove [find]`); !errors.As(err, &field) {
		t.Errorf("got %v, want a FieldError", err)
	}
}

// Whatever goes wrong with either exec, a survey fails or tells the truth.
func TestASurveyUnderFaultsTellsTheTruthOrNothing(t *testing.T) {
	for _, fault := range sim.Faults() {
		t.Run(fault.Name, func(t *testing.T) {
			t.Parallel()
			for _, nth := range []int{1, 2} {
				r := newRig(t, withoutFTP)
				disk := r.create(t)
				if fault.Fault.Kind == sim.Late {
					fault.Fault.Delay = time.Millisecond
				}
				r.sim.Inject(fault.Fault, sim.When{Nth: nth, Times: 1})
				ctx, cancel := t.Context(), func() {}
				if fault.Silent {
					ctx, cancel = context.WithTimeout(ctx, 200*time.Millisecond)
				}
				got, err := r.Survey(ctx, "rds-csi")
				cancel()
				if err == nil && (len(got.Files) > 0 || !slices.Equal(ids(got.Disks), []string{disk.ID.String()}) || !slices.Equal(got.Pools, []string{simtest.Pool})) {
					t.Errorf("exec %d: got %+v and no error", nth, got)
				}
			}
		})
	}
}
