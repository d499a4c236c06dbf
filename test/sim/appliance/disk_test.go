package appliance_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/export"
)

func TestAddPrintsNothingAndReturnsAnID(t *testing.T) {
	b := open(t, nil)
	b.want(t, add, "")
	b.want(t, `:put [/disk add type=file slot=y file-path=raid10/y.img file-size=1K]`, "*3\r\n")
}

func TestIDsAreNeverReused(t *testing.T) {
	b := open(t, nil)
	b.want(t, `:put [/disk add type=file slot=y file-path=raid10/y.img file-size=1K]`, "*2\r\n")
	b.want(t, `/disk remove y; :put [/disk add type=file slot=y file-path=raid10/z.img file-size=1K]`, "*3\r\n")
}

func TestDefaultsOfADisk(t *testing.T) {
	b := open(t, nil)
	b.run(t, `/disk add type=file slot=x file-path=raid10/x.img file-size=1G`)
	for property, want := range map[string]string{
		"mount-filesystem": "true", "nvme-tcp-server-port": "4420", "nvme-tcp-export": "false",
		"nvme-tcp-server-allow-host-name": "", "file-path": "/raid10/x.img", "size": "1073741824",
		"comment": "", "slot-default": "", "file-offset": "0", "empty": "false",
	} {
		b.want(t, `:put [/disk get x `+property+`]`, want+"\r\n")
	}
}

func TestSizesAreBinary(t *testing.T) {
	for given, want := range map[string]string{"1K": "1024", "3M": "3145728", "2G": "2147483648", "4096": "4096"} {
		b := open(t, nil)
		b.run(t, `/disk add type=file slot=x file-path=raid10/x.img file-size=`+given)
		b.want(t, `:put [/disk get x file-size]`, want+"\r\n")
	}
}

func TestAnEmptyFindIsASilentNoOp(t *testing.T) {
	b := open(t, nil)
	b.want(t, `/disk set [find where slot="nosuch"] comment=x`, "")
	b.want(t, `/disk remove [find where slot="nosuch"]`, "")
	b.want(t, `/file remove [find where name="nosuch"]`, "")
}

func TestALiteralMissingItemIsAnError(t *testing.T) {
	b := open(t, nil)
	b.want(t, `/disk remove nosuch`, "no such item (/disk/remove; line 1)\r\n")
	b.want(t, `/disk set *99 comment=x`, "no such item (/disk/set; line 1)\r\n")
	b.want(t, `/file remove raid10/nosuch`, "no such item (/file/remove; line 1)\r\n")
	b.want(t, `:put [/disk get [find where slot="nosuch"] comment]`, "no such item (/disk/get; line 1)\r\n")
	b.want(t, `:put [/disk get raid10 colour]`, "input does not match any value of value-name (/disk/get; line 1)\r\n")
}

func TestUnknownWordingsAreFailures(t *testing.T) {
	tests := []struct{ name, line string }{
		{"slot taken", `/disk add type=file slot=x file-path=raid10/y.img file-size=1K`},
		{"slot of a pool", `/disk add type=file slot=raid10 file-path=raid10/y.img file-size=1K`},
		{"slot too long", `/disk add type=file slot=` + strings.Repeat("s", 33) + ` file-path=raid10/y.img file-size=1K`},
		{"NQN taken", `/disk add type=file slot=y nvme-tcp-server-nqn="nqn:x" file-path=raid10/y.img file-size=1K`},
		{"no directory", `/disk add type=file slot=y file-path=raid10/no/y.img file-size=1K`},
		{"no pool", `/disk add type=file slot=y file-path=raid11/y.img file-size=1K`},
		{"outside of the pools", `/disk add type=file slot=y file-path=raid10/../../y.img file-size=1K`},
		{"full pool", `/disk add type=file slot=y file-path=raid10/y.img file-size=10G`},
		{"nothing to attach", `/disk add type=file slot=y file-path=raid10/y.img`},
		{"shrink", `/disk set x file-size=1K`},
		{"another type", `/disk add type=tmpfs slot=y`},
		{"a pool as target", `/disk set raid10 comment=x`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := open(t, nil)
			b.run(t, add)
			before := b.run(t, `:put [/disk print as-value]; :put [/file print as-value]`)
			if got := b.run(t, test.line); !strings.HasPrefix(got, "failure: ") {
				t.Errorf("got %q, want a failure", got)
			}
			if after := b.run(t, `:put [/disk print as-value]; :put [/file print as-value]`); after != before {
				t.Errorf("a refused command changed something (-before +after):\n%s", cmp.Diff(before, after))
			}
		})
	}
	b := open(t, func(o *appliance.Options) { o.Unknowns.Texts.NoFile = "gone fishing" })
	b.want(t, `/disk add type=file slot=y file-path=raid10/y.img`, "failure: gone fishing (/disk/add; line 1)\r\n")
}

func TestBadValuesNameTheArgument(t *testing.T) {
	b := open(t, nil)
	b.run(t, add)
	for argument, value := range map[string]string{
		"file-size": "big", "nvme-tcp-export": "maybe", "nvme-tcp-server-port": "70000", "slot": `""`,
	} {
		b.want(t, `/disk set x `+argument+`=`+value, "invalid value for argument "+argument+" (/disk/set; line 1)\r\n")
	}
}

func TestARestartKeepsDisksAndTheirExport(t *testing.T) {
	b := open(t, nil)
	b.run(t, add+`nvme-tcp-export=yes comment="kept \"quoted\""; /disk add type=file slot=gone file-path=raid10/g.img file-size=1K; /disk remove gone`)
	before := b.run(t, `:put [/disk print as-value]`)

	again := open(t, func(o *appliance.Options) { o.StateDir = b.stateDir })
	if after := again.run(t, `:put [/disk print as-value]`); after != before {
		t.Errorf("disks after a restart (-before +after):\n%s", cmp.Diff(before, after))
	}
	if _, err := again.exports.Connect("nqn:x", "host"); err != nil {
		t.Errorf("connect after a restart: %v", err)
	}
	again.want(t, `:put [/disk add type=file slot=n file-path=raid10/n.img file-size=1K]`, "*4\r\n")
}

func TestAPoolCannotBeAddedToAnOldState(t *testing.T) {
	b := open(t, nil)
	b.run(t, add)
	_, err := appliance.Open(appliance.Options{
		StateDir: b.stateDir, Pools: []appliance.Pool{{Name: "p", Size: 1}, {Name: "q", Size: 1}},
		Exports: export.New(export.Options{}),
	})
	if !errors.Is(err, appliance.ErrOptions) {
		t.Errorf("got %v, want ErrOptions", err)
	}
}

func TestABrokenConfigurationIsNotReplaced(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "config.json")
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := appliance.Open(appliance.Options{
		StateDir: dir, Pools: []appliance.Pool{{Name: "p", Size: 1}}, Exports: export.New(export.Options{}),
	})
	if err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("got error %v, want one naming %s", err, file)
	}
}
