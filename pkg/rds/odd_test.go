package rds_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim"
	"git.srvlab.io/whiskey/rds-csi-driver/test/simtest"
)

// whileOdd checks what can be done while one disk in the slot operator, and maybe one of ours, is shown oddly.
func (r rig) whileOdd(t *testing.T, mine rds.Disk, left []string) {
	t.Helper()
	if _, err := r.Get(t.Context(), mine.ID); err != nil {
		t.Errorf("get: %v", err)
	}
	disks, err := r.List(t.Context())
	if err != nil || !slices.Equal(ids(disks), left) {
		t.Errorf("list: got %v, %v, want %v", ids(disks), err, left)
	}
	healths, err := r.Health(t.Context())
	if err != nil || len(healths) != len(left) {
		t.Errorf("health: got %+v, %v, want that of %v", healths, err, left)
	}
	if _, err := r.Capacity(t.Context(), simtest.Pool); err != nil {
		t.Errorf("capacity: %v", err)
	}
	survey, err := r.Survey(t.Context(), "rds-csi")
	if err != nil || !slices.Equal(ids(survey.Disks), left) || len(survey.Files) > 0 {
		t.Errorf("survey: got %+v, %v, want the disks %v and no file without one", survey, err, left)
	}
	other := r.createOn(t, simtest.Pool, "rds-csi", "another")
	if err := r.Delete(t.Context(), other.ID, 0); err != nil {
		t.Errorf("delete: %v", err)
	}
}

// through returns a client of the same appliance that reads other words.
func (r rig) through(t *testing.T, words ...string) rig {
	t.Helper()
	over := simtest.Console{Transport: simtest.SSH(t, r.config.SSH), Sim: r.sim, Change: strings.NewReplacer(words...)}
	return rig{Client: simtest.ClientOver(t, r.config.Config, over), sim: r.sim, config: r.config}
}

const (
	strangersComment = "was rds-csi/2 cluster=cluster-1 once"
	strangersDisk    = `/disk add type=file slot="operator" file-path="/raid10/operator.img" file-size=1073741824 comment="` + strangersComment + `"`
)

// A disk of somebody's may be shown with any text. It mustn't hide a disk of ours.
func TestAStrangersOddDiskNeverMatters(t *testing.T) {
	for name, words := range map[string][]string{
		"file-size": {`"file-size":1073741824`, `"file-size":"auto"`},
		"size":      {`"size":1073741824,`, `"size":"1.0GiB",`},
		"both":      {`"file-size":1073741824`, `"file-size":{}`, `"size":1073741824,`, `"size":[],`},
		"export":    {`"file-size":1073741824,"nvme-tcp-export":false`, `"file-size":1073741824,"nvme-tcp-export":"perhaps"`},
		"comment":   {`"` + strangersComment + `"`, `["` + strangersComment + `"]`},
		"nothing":   {},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			mine := r.create(t)
			r.execute(t, strangersDisk)
			r.through(t, words...).whileOdd(t, mine, []string{mine.ID.String()})
		})
	}
	t.Run("line ends in a comment", func(t *testing.T) {
		r := newRig(t, func(o *sim.Options) { o.Unknowns.RawControls = true })
		mine := r.create(t)
		r.execute(t, strings.Replace(strangersDisk, "once", `once\r\n\\and\n\t[{again`, 1))
		r.whileOdd(t, mine, []string{mine.ID.String()})
	})
}

// One of ours that can't be read is left out, and is the trouble of its own volume alone.
func TestAnOddDiskOfOursIsItsOwnTrouble(t *testing.T) {
	r := newRig(t)
	mine := r.create(t)
	spoilt, err := r.Create(t.Context(), volumeID(t, "pvc-2"), rds.Size{Bytes: 32 * mebibyte}, rds.NewRecord(volumeID(t, "pvc-2"), "pvc-2", "", ""))
	if err != nil {
		t.Fatal(err)
	}
	for property, words := range map[string][]string{
		"size":                {`"size":33554432`, `"size":"32.0MiB"`},
		"nvme-tcp-export":     {`"file-size":33554432,"nvme-tcp-export":false`, `"file-size":33554432,"nvme-tcp-export":"perhaps"`},
		"nvme-tcp-server-nqn": {`"` + spoilt.SubsystemNQN + `"`, `7`},
		"file-size":           {`"size":33554432`, `"size":""`, `"file-size":33554432`, `"file-size":"auto"`},
		"file-path":           {`"/` + spoilt.ID.String() + `.img"`, `7`},
	} {
		t.Run(property, func(t *testing.T) {
			odd := r.through(t, words...)
			if property != "file-path" {
				// Which file a disk refers to must be known before any may be called one without a disk.
				odd.whileOdd(t, mine, []string{mine.ID.String()})
			} else if survey, err := odd.Survey(t.Context(), "rds-csi"); !errors.Is(err, rds.ErrUnreachable) {
				t.Errorf("survey: got %+v, %v, want ErrUnreachable", survey, err)
			}
			for what, err := range map[string]error{
				"get":    second(odd.Get(t.Context(), spoilt.ID)),
				"delete": odd.Delete(t.Context(), spoilt.ID, 0),
				"create": second(odd.Create(t.Context(), spoilt.ID, rds.Size{Bytes: spoilt.Size}, rds.NewRecord(spoilt.ID, "pvc-2", "", ""))),
			} {
				if !errors.Is(err, rds.ErrUnreadable) || !strings.Contains(err.Error(), spoilt.ID.Slot()) || !strings.Contains(err.Error(), property) {
					t.Errorf("%s: got %v, want ErrUnreadable that names the slot and its %s", what, err, property)
				}
			}
		})
	}
}

func second[T any](_ T, err error) error { return err }

// A disk on a file that was there already may be shown with the file-size "auto": its own size counts.
func TestATakenOverFileMayBeOfAutomaticSize(t *testing.T) {
	r := newRig(t, func(o *sim.Options) { o.Unknowns.AutoFileSize = true })
	r.leaveFile(t, 16*mebibyte)
	disk, err := r.tryCreate(t, rds.Size{Bytes: 16 * mebibyte})
	if err != nil || disk.Size != 16*mebibyte {
		t.Errorf("got %+v, %v, want a disk of 16 MiB", disk, err)
	}
	if got, err := r.Capacity(t.Context(), simtest.Pool); err != nil || got.Promised != 16*mebibyte {
		t.Errorf("capacity: got %+v, %v, want 16 MiB promised", got, err)
	}
}
