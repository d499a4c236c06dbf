package appliance_test

import (
	"testing"
	"testing/synctest"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
)

func TestUnsetClearsWhatCanBeEmpty(t *testing.T) {
	for _, property := range []string{"comment", "nvme-tcp-server-nqn", "nvme-tcp-server-allow-host-name", "nvme-tcp-server-password", "mount-point-template"} {
		for _, line := range []string{`/disk unset x ` + property, `/disk set x !` + property} {
			b := open(t, nil)
			b.run(t, add)
			b.run(t, `/disk set x `+property+`=something`)
			b.want(t, line, "")
			b.want(t, `:put ([/disk get x `+property+`] = "something")`, "false\r\n")
		}
	}
	b := open(t, nil)
	b.run(t, add)
	b.want(t, `/disk unset x file-size`, "input does not match any value of value-name (/disk/unset; line 1)\r\n")
	b.want(t, `/disk set x !file-size`, "invalid value for argument file-size (/disk/set; line 1)\r\n")
	b.want(t, `/disk set x !colour`, "expected end of command (line 1 column 13)\r\n")
	b.want(t, `/disk unset [find where slot=nosuch] comment`, "")
}

func TestCommentSetsTheComment(t *testing.T) {
	b := open(t, nil)
	b.run(t, add)
	b.want(t, `/disk comment [find where slot=x] comment="new"; :put [/disk get x comment]`, "new\r\n")
}

func TestACommentMayBeCut(t *testing.T) {
	b := open(t, func(o *appliance.Options) { o.Unknowns.CommentMax = 4 })
	b.run(t, add+`comment="12345"`)
	b.want(t, `:put [/disk get x comment]; /disk comment x comment="abcdef"; :put [/disk get x comment]; /disk set x comment="ab"; :put [/disk get x comment]`, "1234\r\nabcd\r\nab\r\n")
}

func TestAnNQNMayBeCut(t *testing.T) {
	b := open(t, func(o *appliance.Options) { o.Unknowns.NQNMax = 4 })
	b.run(t, add)
	b.want(t, `:put [/disk get x nvme-tcp-server-nqn]; /disk set x nvme-tcp-server-nqn="ab"; :put [/disk get x nvme-tcp-server-nqn]`, "nqn:\r\nab\r\n")
}

func TestALineMayBeCut(t *testing.T) {
	b := open(t, func(o *appliance.Options) { o.Unknowns.LineMax = len(`:put 1; :put 2`) })
	b.want(t, `:put 1; :put 23`, "1\r\n2\r\n")
}

func TestSizesMayBeRounded(t *testing.T) {
	b := open(t, func(o *appliance.Options) { o.Unknowns.RoundSizes = true })
	b.run(t, `/disk add type=file slot="x" file-path="/raid10/x.img" file-size=1052672`)
	b.want(t, `:put [/disk get x size]; :put [/disk get x file-size]`, "1048576\r\n1048576\r\n")
}

func TestADisabledDiskMayLoseItsExport(t *testing.T) {
	tests := []struct {
		name  string
		keeps bool
	}{{"it does", false}, {"it doesn't", true}}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := open(t, func(o *appliance.Options) { o.Unknowns.DisabledKeepsExport = test.keeps })
			b.run(t, add+`nvme-tcp-export=yes`)
			session, err := b.exports.Connect("nqn:x", "host")
			if err != nil {
				t.Fatal(err)
			}
			b.want(t, `/disk disable x`, "")
			b.want(t, `:put [/disk get x disabled]; :put [/disk get x nvme-tcp-export]`, "true\r\ntrue\r\n")
			select {
			case <-session.Revoked():
				if test.keeps {
					t.Error("the host was cut, want it left alone")
				}
			default:
				if !test.keeps {
					t.Error("the host was left alone, want it cut")
				}
			}
			if got := b.Disks()[0].Exported; got != test.keeps {
				t.Errorf("exported: got %t, want %t", got, test.keeps)
			}
			b.exports.End(session.ID)
			b.want(t, `/disk enable x; :put [/disk get x disabled]`, "false\r\n")
			if _, err := b.exports.Connect("nqn:x", "host"); err != nil {
				t.Errorf("connect after enable: %v", err)
			}
		})
	}
}

func TestCopyFromCopiesPropertiesOnly(t *testing.T) {
	b := open(t, nil)
	b.run(t, add+`comment="c" nvme-tcp-server-port=4421`)
	writeFile(t, b, "raid10/x.img", "data")
	b.want(t, `/disk add copy-from=x slot=y file-path=raid10/y.img nvme-tcp-server-nqn="nqn:y"`, "")
	b.want(t, `:put [/disk get y comment]; :put [/disk get y nvme-tcp-server-port]; :put [/disk get y size]`, "c\r\n4421\r\n1073741824\r\n")
	if got := readFile(t, b, "raid10/y.img", 4); got != "\x00\x00\x00\x00" {
		t.Errorf("the new disk holds %q, want nothing of the old one", got)
	}
	b.want(t, `/disk add copy-from=nosuch slot=z`, "no such item (/disk/add; line 1)\r\n")
	b.want(t, `/disk add copy-from=[find where slot=nosuch] slot=z`, "invalid value for argument copy-from (/disk/add; line 1)\r\n")
}

func TestTwoDisksMayShareAFile(t *testing.T) {
	const again = `/disk add type=file slot=y file-path=raid10/x.img nvme-tcp-server-nqn="nqn:y"`
	b := open(t, nil)
	b.run(t, add)
	b.want(t, again, "")
	b = open(t, func(o *appliance.Options) { o.Unknowns.RefuseSharedFile = true })
	b.run(t, add)
	b.want(t, again, "failure: file is used by another disk (/disk/add; line 1)\r\n")
}

func TestDiskCopyCopiesData(t *testing.T) {
	b := open(t, nil)
	b.run(t, add+`; /disk add type=file slot=y file-path=raid10/y.img file-size=2G; /disk add type=file slot=z file-path=raid10/z.img file-size=1M`)
	writeFile(t, b, "raid10/x.img", "data")
	writeFile(t, b, "raid10/y.img", "old content")
	b.want(t, `/disk copy src=x dst=y`, "1073741824 / 1073741824 (100%)\r\n")
	if got := readFile(t, b, "raid10/y.img", 11); got != "data\x00\x00\x00\x00\x00\x00\x00" {
		t.Errorf("the target holds %q, want the source's data and zeros", got)
	}
	b.want(t, `:put [/disk get y size]`, "2147483648\r\n")
	b.want(t, `/disk copy src=x dst=z`, "failure: not enough disk space (/disk/copy; line 1)\r\n")
	b.want(t, `/disk copy src=nosuch dst=z`, "no such item (/disk/copy; line 1)\r\n")
	b.want(t, `/disk copy src=x dst=/raid10/new.img`, "1073741824 / 1073741824 (100%)\r\n")
	if got := readFile(t, b, "raid10/new.img", 4); got != "data" {
		t.Errorf("the new file holds %q, want the source's data", got)
	}
}

func TestFileCopyNeeds723(t *testing.T) {
	const line = `/file copy raid10/x.img name=raid10/c.img`
	b := open(t, nil)
	b.run(t, add)
	writeFile(t, b, "raid10/x.img", "data")
	b.want(t, line, "")
	if got := readFile(t, b, "raid10/c.img", 4); got != "data" {
		t.Errorf("the copy holds %q, want the data", got)
	}
	b.want(t, `:put [/disk get raid10 free]`, "8589934592\r\n")
	b.want(t, line, "failure: file already exists (/file/copy; line 1)\r\n")
	b.want(t, `/file copy raid10/nosuch name=raid10/d.img`, "no such item (/file/copy; line 1)\r\n")
	old := open(t, func(o *appliance.Options) { o.Version = "7.22.4" })
	old.want(t, line, "bad command name copy (line 1 column 7)\r\n")
}

func TestTrimNeeds722(t *testing.T) {
	open(t, nil).want(t, `/disk trim raid10`, "")
	open(t, nil).want(t, `/disk trim nosuch`, "no such item (/disk/trim; line 1)\r\n")
	open(t, func(o *appliance.Options) { o.Version = "7.21.2" }).want(t, `/disk trim raid10`, "bad command name trim (line 1 column 7)\r\n")
}

func TestTrafficIsMonitoredOnce(t *testing.T) {
	b := open(t, nil)
	b.want(t, `/disk monitor-traffic nosuch once`, "no such item (/disk/monitor-traffic; line 1)\r\n")
	b.want(t, `/disk monitor-traffic raid10`, "failure: not simulated (/disk/monitor-traffic; line 1)\r\n")
}

func TestWhatNoVersionHas(t *testing.T) {
	b := open(t, nil)
	for line, want := range map[string]string{
		`/disk monitor-once x`:      "bad command name monitor-once (line 1 column 7)\r\n",
		`/disk snapshot x`:          "bad command name snapshot (line 1 column 7)\r\n",
		`/interface nvme-tcp print`: "bad command name interface (line 1 column 2)\r\n",
	} {
		b.want(t, line, want)
	}
}

func TestACopyTakesItsTime(t *testing.T) {
	for scale, want := range map[float64]time.Duration{0: 0, 1: 2 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			b := open(t, func(o *appliance.Options) { o.Timing = appliance.Timing{Scale: scale, PerGiB: 2 * time.Second} })
			b.run(t, add)
			started := time.Now()
			b.want(t, `/disk copy src=x dst=raid10/copy.img`, "1073741824 / 1073741824 (100%)\r\n")
			if got := time.Since(started); got != want {
				t.Errorf("copying 1 GiB took %v, want %v", got, want)
			}
		})
	}
}

func TestSwapAndTemplateAreKept(t *testing.T) {
	b := open(t, nil)
	b.run(t, add+`swap=yes mount-point-template="[slot]"`)
	b.want(t, `:put [/disk get x swap]; :put [/disk get x mount-point-template]`, "true\r\n[slot]\r\n")
}
