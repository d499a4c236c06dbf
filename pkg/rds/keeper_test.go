package rds_test

import (
	"errors"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme/tcp"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
	"git.srvlab.io/whiskey/rds-csi-driver/test/simtest"
)

func TestThePortStaysOpenWithoutAVolume(t *testing.T) {
	for name, change := range map[string]func(*sim.Options){"with SFTP": func(*sim.Options) {}, "without": withoutFTP, "a file is never made anew": func(o *sim.Options) { o.Unknowns.ExistingFile = appliance.RefuseFile }} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, change)
			disk := r.publish(t, r.create(t))
			for range 2 { // what is there already is fine
				if err := r.KeepPortOpen(t.Context(), simtest.Pool, "rds-csi"); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := r.Unpublish(t.Context(), disk, disk.Record.Unpublish("")); err != nil {
				t.Fatal(err)
			}
			for _, host := range []string{"nqn.2014-08.org.nvmexpress:uuid:2858e678-30cd-59fc-b99c-aad029ba4476", ""} {
				_, err := simtest.Initiator(r.sim.NVMeAddr())(t.Context(), "nqn.2026-11.io.srvlab.csi.rds:keeper", host)
				if !errors.Is(err, rds.ErrRefused) {
					t.Errorf("host %q: got %v, want an answer, and a refusal", host, err)
				}
			}
			if err := r.Delete(t.Context(), disk.ID, 0); err != nil {
				t.Error(err)
			}
			findings, err := checked(t.Context(), t, r)
			if want := "0 disks of this driver, files without a disk: [], disks of others: []"; err != nil || findings["inventory"].Detail != want {
				t.Errorf("the check: %v, %+v, want %q", err, findings["inventory"], want)
			}
			if survey, err := r.Survey(t.Context(), "rds-csi"); err != nil || len(survey.Disks)+len(survey.Files) > 0 {
				t.Errorf("the survey: %+v, %v", survey, err)
			}
			for _, trouble := range []string{`/disk set rds-csi-keeper nvme-tcp-export=no`, `/disk remove rds-csi-keeper`} {
				r.execute(t, trouble)
				if err := r.KeepPortOpen(t.Context(), simtest.Pool, "rds-csi"); err != nil || !r.sim.Disks()[0].Exported {
					t.Errorf("%s: got %v, %+v", trouble, err, r.sim.Disks())
				}
			}
		})
	}
}

func TestTheKeeperTouchesNothingElse(t *testing.T) {
	r := newRig(t)
	r.execute(t, `/disk add type=file slot="rds-csi-keeper" file-path="/raid10/x.img" file-size=1048576 comment="somebody's"`)
	if err := r.KeepPortOpen(t.Context(), simtest.Pool, "rds-csi"); err == nil || r.sim.Disks()[0].Exported {
		t.Errorf("a disk in its slot: got %v, %+v, want it left alone", err, r.sim.Disks())
	}
	if err := r.KeepPortOpen(t.Context(), "nosuch", "rds-csi"); !errors.Is(err, rds.ErrNoPool) {
		t.Errorf("no pool: got %v", err)
	}
	if _, err := tcp.Connect(t.Context(), r.sim.NVMeAddr(), "x", "y"); !errors.Is(err, tcp.ErrUnreachable) {
		t.Errorf("nothing is exported: got %v, want the port to be closed", err)
	}
}
