package rds_test

import (
	"testing"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
	"git.srvlab.io/whiskey/rds-csi-driver/test/simtest"
)

// worn is a volume whose record was written to several times.
func (r rig) worn(t *testing.T) rds.Disk {
	t.Helper()
	disk := r.create(t)
	for range 3 {
		disk = r.publish(t, disk)
		var err error
		if disk, err = r.Unpublish(t.Context(), disk, disk.Record.Unpublish("")); err != nil {
			t.Fatal(err)
		}
	}
	return disk
}

// Another controller deletes a volume and makes one anew under its name: what is remembered of the first says nothing of
// the second. Taken for an appliance that went back in time, it would lose its holder.
func TestAVolumeMadeAnewIsNotTakenForAnOldOne(t *testing.T) {
	r := newRig(t)
	old := r.worn(t)
	other := rig{Client: simtest.Client(t, r.config), sim: r.sim, config: r.config}
	r.sim.Advance(time.Hour)
	if err := other.Delete(t.Context(), old.ID, 0); err != nil {
		t.Fatal(err)
	}
	held := other.publish(t, other.create(t))
	got, err := r.Get(t.Context(), old.ID)
	if err != nil || got.WentBack(0) || got.Record.Generation != held.Record.Generation {
		t.Errorf("got generation %d, %v, went back: %t, want the new volume's %d", got.Record.Generation, err, got.WentBack(0), held.Record.Generation)
	}
}

func TestAListEndsTheMemoryOfDeletedVolumes(t *testing.T) {
	deleted := func(t *testing.T, r rig, disk rds.Disk) {
		t.Helper()
		if err := simtest.Client(t, r.config).Delete(t.Context(), disk.ID, 0); err != nil {
			t.Fatal(err)
		}
	}
	for name, test := range map[string]struct {
		change     func(*testing.T, rig, rds.Disk)
		remembered bool
	}{
		"a complete list": {deleted, false},
		"a list during the boot": {func(t *testing.T, r rig, disk rds.Disk) {
			t.Helper()
			deleted(t, r, disk)
			if err := r.sim.Reboot(t.Context(), appliance.Boot{}); err != nil {
				t.Fatal(err)
			}
			for r.sim.Phase() != appliance.Up {
				r.sim.NextPhase()
			}
		}, true},
		"a disk that can't be understood": {func(t *testing.T, r rig, disk rds.Disk) {
			t.Helper()
			r.execute(t, `/disk set [find slot="`+disk.ID.Slot()+`"] comment="rds-csi/2 cluster=cluster-1 spoilt"`)
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			old := r.worn(t)
			test.change(t, r, old)
			_, err := r.List(t.Context())
			if _, remembered := r.LastSeen(old.ID); remembered != test.remembered {
				t.Errorf("remembered: %t (%v), want %t", remembered, err, test.remembered)
			}
		})
	}
}
