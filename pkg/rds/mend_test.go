package rds_test

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim"
	"git.srvlab.io/whiskey/rds-csi-driver/test/simtest"
)

// 255 and 300 bytes are where others saw comments end.
func TestAnApplianceThatCutsCommentsShowsItBeforeThereIsData(t *testing.T) {
	for _, most := range []int{255, 300, 511} {
		t.Run(strconv.Itoa(most), func(t *testing.T) {
			r := newRig(t, func(o *sim.Options) { o.Unknowns.CommentMax = most })
			_, err := r.tryCreate(t, rds.Size{Bytes: mebibyte})
			if said := fmt.Sprintf("bytes %d to 512 are missing", most+1); !errors.Is(err, rds.ErrUnreadable) || !strings.Contains(err.Error(), said) {
				t.Errorf("create: got %v, want ErrUnreadable with %q", err, said)
			}
			findings, err := checked(t.Context(), t, newRig(t, func(o *sim.Options) { o.Unknowns.CommentMax = most }))
			if err == nil || findings["probe disk"].Result != rds.ResultFailed || findings["clean-up"].Result != rds.ResultOK {
				t.Errorf("check: got %v, %+v, want that the probe disk fails and is removed", err, findings)
			}
		})
	}
}

// damage writes a comment to a disk.
func (r rig) damage(t *testing.T, disk rds.Disk, comment string) {
	t.Helper()
	r.execute(t, fmt.Sprintf(`/disk set [find slot=%q] comment=%q`, disk.ID.Slot(), comment))
}

// commentOf is a disk's comment.
func (r rig) commentOf(t *testing.T, disk rds.Disk) string {
	t.Helper()
	return r.execute(t, fmt.Sprintf(`:put [/disk get [find slot=%q] comment]`, disk.ID.Slot()))
}

func TestMendWritesADamagedRecordAnew(t *testing.T) {
	for name, test := range map[string]struct {
		damage func(comment string) string
		name   string
		want   error
	}{
		"cut":                     {func(comment string) string { return comment[:120] }, "", nil},
		"cut within the name":     {func(comment string) string { return comment[:45] }, "", new(rds.FieldError)},
		"cut, with the name":      {func(comment string) string { return comment[:45] }, "pvc-1", nil},
		"overwritten":             {func(string) string { return "an operator was here" }, "pvc-1", nil},
		"emptied":                 {func(string) string { return "" }, "pvc-1", nil},
		"of the first format":     {func(comment string) string { return strings.Replace(comment, "rds-csi/2", "rds-csi/1", 1) }, "", nil},
		"intact":                  {func(comment string) string { return comment }, "pvc-1", rds.ErrIntact},
		"another cluster's":       {func(comment string) string { return strings.Replace(comment, "cluster-1", "cluster-2", 1) }, "pvc-1", rds.ErrNotOurs},
		"of text that can't be":   {func(string) string { return "50% (really)" }, "pvc-1", new(rds.FieldError)},
		"longer than any command": {func(string) string { return strings.Repeat("x", 600) }, "pvc-1", new(rds.FieldError)},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			held := r.publish(t, r.create(t))
			damaged := test.damage(r.commentOf(t, held))
			r.damage(t, held, damaged)
			if _, err := r.Get(t.Context(), held.ID); (err == nil) != errors.Is(test.want, rds.ErrIntact) {
				t.Fatalf("get: %v", err)
			}
			mended, err := r.Mend(t.Context(), held.ID, test.name)
			if test.want != nil {
				if field := (*rds.FieldError)(nil); !errors.Is(err, test.want) && (!errors.As(test.want, &field) || !errors.As(err, &field)) {
					t.Errorf("got %v, want %v", err, test.want)
				}
				if got := r.commentOf(t, held); got != damaged {
					t.Errorf("the comment became %q", got)
				}
				return
			}
			if err != nil || mended.Record.Held() || mended.Exported || mended.Record.Volume != "pvc-1" || !mended.Consistent() || mended.WentBack(held.Record.Generation) {
				t.Fatalf("got %+v, %v, want a volume that nobody holds, newer than generation %d", mended, err, held.Record.Generation)
			}
			if again := r.publish(t, mended); again.SubsystemNQN == held.SubsystemNQN {
				t.Errorf("the old epoch came back: %s", again.SubsystemNQN)
			}
		})
	}
}

// A volume's data changes its cluster by hand, as docs/holding.md has it.
func TestAVolumeMovesToAnotherCluster(t *testing.T) {
	r := newRig(t)
	from, to := r.create(t), r.ofCluster(t, "cluster-2").createOn(t, simtest.Pool, "rds-csi", "pvc-7")
	files := map[string]string{}
	for _, info := range r.sim.Disks() {
		files[info.Slot] = info.File
	}
	if err := os.WriteFile(files[from.ID.Slot()], []byte("the data"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.execute(t, fmt.Sprintf(`/disk copy src=%q dst=%q`, from.ID.Slot(), to.ID.Slot()))
	if got, err := os.ReadFile(files[to.ID.Slot()]); err != nil || !strings.HasPrefix(string(got), "the data") {
		t.Errorf("got %.20q, %v", got, err)
	}
}

// Two clusters share an appliance. Neither removes or adopts what is the other's, a file without a disk least of all.
func TestTwoClustersOnOneAppliance(t *testing.T) {
	for name, change := range map[string]func(*sim.Options){"with SFTP": func(*sim.Options) {}, "without SFTP": withoutFTP} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, change)
			other := r.ofCluster(t, "cluster-2")
			mine := r.create(t)
			for _, orphaned := range []bool{false, true} {
				if orphaned {
					r.execute(t, fmt.Sprintf(`/disk remove [find slot=%q]`, mine.ID.Slot()))
				}
				theirs := other.createOn(t, simtest.Pool, "rds-csi", "pvc-1")
				if theirs.ID.Slot() == mine.ID.Slot() || theirs.Size != 16*mebibyte {
					t.Errorf("orphaned %t: the other cluster's volume of the same name is %+v", orphaned, theirs)
				}
				_, create := other.Create(t.Context(), mine.ID, rds.Size{Bytes: mebibyte}, rds.NewRecord(mine.ID, "pvc-1", "", ""))
				_, get := other.Get(t.Context(), mine.ID)
				_, mend := other.Mend(t.Context(), mine.ID, "pvc-1")
				for what, err := range map[string]error{"create": create, "get": get, "mend": mend, "delete": other.Delete(t.Context(), mine.ID, 0)} {
					if !errors.Is(err, rds.ErrNotOurs) {
						t.Errorf("orphaned %t: %s: got %v, want ErrNotOurs", orphaned, what, err)
					}
				}
				if out := r.execute(t, fmt.Sprintf(`:put [:len [/file find where name="%s.img"]]`, mine.ID)); out != "1" {
					t.Fatalf("orphaned %t: the file is gone", orphaned)
				}
			}
			survey, err := other.Survey(t.Context(), "rds-csi")
			if err != nil || len(survey.Files) > 0 {
				t.Errorf("the other cluster's survey: %+v, %v, want no files", survey, err)
			}
			if survey, err = r.Survey(t.Context(), "rds-csi"); err != nil || len(survey.Files) != 1 {
				t.Errorf("the cluster's own survey: %+v, %v, want its file", survey, err)
			}
		})
	}
}
