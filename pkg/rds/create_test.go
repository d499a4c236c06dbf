package rds_test

import (
	"errors"
	"strings"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim"
	"git.srvlab.io/whiskey/rds-csi-driver/test/simtest"
)

// tryCreate is another attempt to create one and the same volume.
func (r rig) tryCreate(t *testing.T, size rds.Size) (rds.Disk, error) {
	t.Helper()
	return r.Create(t.Context(), volumeID(t, "pvc-1"), size, rds.NewRecord(simtest.ClusterID, "pvc-1", "", ""))
}

// leaveFile leaves a volume's backing file without its disk.
func (r rig) leaveFile(t *testing.T, size int64) {
	t.Helper()
	disk, err := r.tryCreate(t, rds.Size{Bytes: size})
	if err != nil {
		t.Fatal(err)
	}
	r.execute(t, `/disk remove [find where slot="`+disk.ID.Slot()+`"]`)
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
			disk, err := simtest.Client(t, r.config).Create(t.Context(), volumeID(t, "pvc-1"), rds.Size{Bytes: 64 * mebibyte}, rds.NewRecord(simtest.ClusterID, "pvc-1", "", ""))
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
