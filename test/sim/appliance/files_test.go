package appliance_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
)

func TestFilePathHasALeadingSlashAndFileNameHasNone(t *testing.T) {
	for _, given := range []string{"raid10/x.img", "/raid10/x.img"} {
		b := open(t, nil)
		b.run(t, `/disk add type=file slot=x file-path=`+given+` file-size=1G`)
		b.want(t, `:put [:len [/disk find where file-path="/raid10/x.img"]]`, "1\r\n")
		b.want(t, `:put [:len [/disk find where file-path="raid10/x.img"]]`, "0\r\n")
		b.want(t, `:put [:len [/file find where name="raid10/x.img"]]`, "1\r\n")
		b.want(t, `:put [:len [/file find where name="/raid10/x.img"]]`, "0\r\n")
	}
}

func TestTheBackingFileIsReal(t *testing.T) {
	b := open(t, nil)
	b.run(t, add)
	info, err := os.Stat(b.Disks()[0].File)
	if err != nil || info.Size() != 1<<30 {
		t.Errorf("got %v, %v, want a file of 1 GiB", info, err)
	}
	b.want(t, `:put [/file get raid10/x.img type]`, ".img file\r\n")
}

func TestFreeSpaceGoesDownWhenAFileIsMadeAndUpWhenItIsRemoved(t *testing.T) {
	const free = `:put [/disk get raid10 free]`
	b := open(t, nil)
	b.want(t, free, "10737418240\r\n")
	b.run(t, add)
	b.want(t, free, "9663676416\r\n")
	b.run(t, `/disk remove x`)
	b.want(t, free, "9663676416\r\n")
	b.run(t, `/file remove raid10/x.img`)
	b.want(t, free, "10737418240\r\n")

	b = open(t, func(o *appliance.Options) { o.Unknowns.ThinFiles = true })
	b.run(t, add)
	b.want(t, free, "10737418240\r\n")
}

func TestRemoveLeavesTheBackingFile(t *testing.T) {
	b := open(t, nil)
	b.run(t, add)
	b.want(t, `/disk remove [find where slot="x"]`, "")
	b.want(t, `:put [:len [/disk find where slot="x"]]; :put [:len [/file find where name="raid10/x.img"]]`, "0\r\n1\r\n")
}

func TestWhatAddDoesToAnExistingFile(t *testing.T) {
	tests := []struct {
		name     string
		existing appliance.ExistingFile
		output   string
		content  string
	}{
		{"reuse", appliance.ReuseFile, "", "data"},
		{"refuse", appliance.RefuseFile, "failure: file already exists (/disk/add; line 1)\r\n", "data"},
		{"truncate", appliance.TruncateFile, "", "\x00\x00\x00\x00"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := open(t, func(o *appliance.Options) { o.Unknowns.ExistingFile = test.existing })
			file := filepath.Join(b.stateDir, "files", "raid10", "x.img")
			if err := os.WriteFile(file, []byte("data"), 0o600); err != nil {
				t.Fatal(err)
			}
			b.want(t, add, test.output)
			if got := firstBytes(t, file, 4); got != test.content {
				t.Errorf("file begins with %q, want %q", got, test.content)
			}
		})
	}
}

func firstBytes(t *testing.T, name string, n int) string {
	t.Helper()
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	data := make([]byte, n)
	if _, err := io.ReadFull(file, data); err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestAddWithoutASizeAttachesTheFile(t *testing.T) {
	b := open(t, nil)
	b.run(t, add+`; /disk remove x; /disk add type=file slot=y file-path=raid10/x.img`)
	b.want(t, `:put [/disk get y size]`, "1073741824\r\n")
}

func TestRemovingALiveFileEmptiesTheDisk(t *testing.T) {
	b := open(t, nil)
	b.run(t, add)
	b.want(t, `/file remove raid10/x.img; :put [/disk get x empty]`, "true\r\n")

	b = open(t, func(o *appliance.Options) { o.Unknowns.RefuseLiveFileRemove = true })
	b.run(t, add)
	b.want(t, `/file remove raid10/x.img`, "failure: file is in use (/file/remove; line 1)\r\n")
}

func TestDirectoriesAreMadeByHand(t *testing.T) {
	b := open(t, nil)
	b.want(t, `/file add name="raid10/rds-csi" type=directory`, "")
	b.want(t, `:put [/file get raid10/rds-csi type]`, "directory\r\n")
	b.want(t, `/file add name="raid10/rds-csi" type=directory`, "failure: file already exists (/file/add; line 1)\r\n")
	b.want(t, `/file add name="raid10/a/b" type=directory`, "failure: no such directory (/file/add; line 1)\r\n")
	b.want(t, `/file add name="../evil" type=directory`, "failure: no such directory (/file/add; line 1)\r\n")
}

func TestShrinkIsAllowedOnRequest(t *testing.T) {
	b := open(t, func(o *appliance.Options) { o.Unknowns.AllowShrink = true })
	b.run(t, add)
	b.want(t, `/disk set x file-size=1M; :put [/disk get x size]`, "1048576\r\n")
}

func TestSFTPSeesNoFilesOfAnUnmountedPool(t *testing.T) {
	b := open(t, nil)
	b.run(t, add)
	cure := b.Afflict(appliance.PoolUnmounted)
	tree := b.Tree()
	if _, err := tree.Stat("raid10/x.img"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("stat: got %v, want that it does not exist", err)
	}
	if got, err := tree.List("/"); err != nil || len(got) != 0 {
		t.Errorf("list: got %v, %v, want nothing", got, err)
	}
	if _, err := tree.Create("raid10/y", os.O_CREATE|os.O_WRONLY); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("create: got %v, want that its pool does not exist", err)
	}
	cure()
	if _, err := tree.Stat("raid10/x.img"); err != nil {
		t.Errorf("stat of a mounted pool: %v", err)
	}
}
