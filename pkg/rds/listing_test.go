package rds_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
	"git.srvlab.io/whiskey/rds-csi-driver/test/simtest"
)

// stocked has the appliance begin with volumes of 1 MiB, some disks of strangers, and a file without a disk. It returns the IDs
// of the volumes in order, and the file.
func stocked(t *testing.T, volumes int, strangers string) (change func(*sim.Options), ids []string, lost string) {
	t.Helper()
	type disk struct {
		ID       int    `json:"id"`
		Slot     string `json:"slot"`
		Comment  string `json:"comment"`
		File     string `json:"file"`
		FileSize int64  `json:"fileSize"`
		Port     int64  `json:"port"`
		NQN      string `json:"nqn"`
	}
	var disks []disk
	for i := range volumes {
		id := volumeID(t, fmt.Sprint("pvc-", i))
		record := rds.NewRecord(id, fmt.Sprint("pvc-", i), strings.Repeat("p", 120), "namespace/"+strings.Repeat("c", 120))
		comment, err := record.Encode()
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id.String())
		disks = append(disks, disk{i + 10, id.Slot(), comment, id.String() + ".img", mebibyte, 4420, record.SubsystemNQN(id)})
	}
	for i, slot := range []string{"operator", "csi-operator", "csi-Ab", "nocsi-0"} {
		disks = append(disks, disk{volumes + 10 + i, slot, strangers, "raid10/" + slot + ".img", 7 * mebibyte, 4420, "nqn." + slot})
	}
	slices.Sort(ids)
	lost = volumeID(t, "lost").String() + ".img"
	config, err := json.Marshal(map[string]any{"nextID": volumes + 100, "disks": disks})
	if err != nil {
		t.Fatal(err)
	}
	return func(o *sim.Options) {
		o.Pools[0].Size, o.Unknowns.ThinFiles = appliance.GiB*1024, true
		folder := filepath.Join(o.StateDir, "files", "raid10", "rds-csi", simtest.ClusterID)
		err := errors.Join(os.MkdirAll(folder, 0o750), os.WriteFile(filepath.Join(o.StateDir, "config.json"), config, 0o600))
		for _, name := range append(slices.Clone(ids), lost) {
			err = errors.Join(err, os.WriteFile(filepath.Join(folder, strings.TrimSuffix(filepath.Base(name), ".img")+".img"), nil, 0o600))
		}
		if err != nil {
			t.Fatal(err)
		}
	}, ids, lost
}

// However many volumes there are, they are all listed. RouterOS drops what a reply has beyond 2 MiB.
func TestAnyNumberOfVolumesIsListed(t *testing.T) {
	for volumes, execs := range map[int]int64{100: 1, 1_600: 17, 10_000: 17} {
		t.Run(strconv.Itoa(volumes), func(t *testing.T) {
			if testing.Short() && volumes == 10_000 {
				t.Skip("making so many disks takes half of the package's time")
			}
			change, want, lost := stocked(t, volumes, "mine")
			var count atomic.Int64
			r := newRig(t, change, func(o *sim.Options) { o.Observe = func(sim.Execution) { count.Add(1) } })
			disks, err := r.List(t.Context())
			if got := ids(disks); err != nil || !slices.Equal(got, want) {
				t.Errorf("list: got %d volumes, %v", len(got), err)
			}
			if got := count.Load(); got != execs {
				t.Errorf("it took %d execs, want %d", got, execs)
			}
			if volumes == 10_000 {
				return // the other lists are made of the same pages
			}
			if healths, err := r.Health(t.Context()); err != nil || len(healths) != volumes || !healths[0].PoolMounted {
				t.Errorf("health: got %d volumes, %v", len(healths), err)
			}
			survey, err := r.Survey(t.Context(), "rds-csi")
			if got := ids(survey.Disks); err != nil || !slices.Equal(got, want) || len(survey.Others) != 4 || !slices.Equal(survey.Files, []string{lost}) {
				t.Errorf("survey: got %d volumes, %v, %v, %v", len(got), survey.Others, survey.Files, err)
			}
			if capacity, err := r.Capacity(t.Context(), simtest.Pool); err != nil || capacity.Promised != int64(volumes+4*7)*mebibyte {
				t.Errorf("capacity: got %+v, %v", capacity, err)
			}
		})
	}
}

// Strangers may write more to their disks than fits into a reply. That is said, and hides nothing of ours.
func TestAReplyThatIsTooLargeIsItsOwnError(t *testing.T) {
	change, want, _ := stocked(t, 100, strings.Repeat("x", 600_000))
	r := newRig(t, change)
	if disks, err := r.List(t.Context()); err != nil || !slices.Equal(ids(disks), want) {
		t.Errorf("list: got %d volumes, %v", len(disks), err)
	}
	if survey, err := r.Survey(t.Context(), "rds-csi"); !errors.Is(err, rds.ErrTooLarge) || errors.Is(err, rds.ErrUnreachable) {
		t.Errorf("survey: got %d volumes, %v, want ErrTooLarge", len(survey.Disks), err)
	}
}
