package appliance_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/export"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is an appliance with the pool raid10 of 10 GiB, and its target.
type bench struct {
	*appliance.Appliance
	exports  *export.Registry
	stateDir string
	policies appliance.Policies
}

func open(t *testing.T, change func(*appliance.Options)) *bench {
	t.Helper()
	options := appliance.Options{
		StateDir: t.TempDir(),
		Pools:    []appliance.Pool{{Name: "raid10", Size: 10 * appliance.GiB}},
		Uptime:   24 * time.Hour,
		Exports:  export.New(export.Options{RevokeWait: 50 * time.Millisecond}),
	}
	if change != nil {
		change(&options)
	}
	a, err := appliance.Open(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return &bench{Appliance: a, exports: options.Exports, stateDir: options.StateDir, policies: appliance.AllPolicies()}
}

// run executes a line and returns what it printed.
func (b *bench) run(t *testing.T, line string) string {
	t.Helper()
	out, err := b.Exec(t.Context(), b.policies, line, nil)
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return out
}

// want runs a line and compares what it printed.
func (b *bench) want(t *testing.T, line, want string) {
	t.Helper()
	if got := b.run(t, line); got != want {
		t.Errorf("%s\ngot  %q\nwant %q", line, got, want)
	}
}

const (
	add     = `/disk add type=file slot="x" file-path="/raid10/x.img" file-size=1073741824 nvme-tcp-server-nqn="nqn:x" `
	exportX = `/disk set [find where slot="x"] nvme-tcp-export=yes`
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

func TestSizesAreBinary(t *testing.T) {
	for given, want := range map[string]string{"1K": "1024", "3M": "3145728", "2G": "2147483648", "4096": "4096"} {
		b := open(t, nil)
		b.run(t, `/disk add type=file slot=x file-path=raid10/x.img file-size=`+given)
		b.want(t, `:put [/disk get x file-size]`, want+"\r\n")
	}
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

func TestErrorsBefore720HaveNoPlace(t *testing.T) {
	b := open(t, func(o *appliance.Options) { o.Version = "7.19.6" })
	b.want(t, `/disk remove nosuch`, "no such item\r\n")
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

func TestAnEmptyPrintIsAListOrAnEmptyString(t *testing.T) {
	const line = `:put [:serialize to=json value=[/disk print as-value where slot=no]]`
	open(t, nil).want(t, line, "[]\r\n")
	open(t, func(o *appliance.Options) { o.Unknowns.EmptyListAsString = true }).want(t, line, `""`+"\r\n")
}

func TestPrintForms(t *testing.T) {
	b := open(t, nil)
	b.run(t, add)
	b.want(t, `/disk print count-only where type=file`, "1\r\n")
	b.want(t, `:put ([/disk print count-only] . "!")`, "2!\r\n")
	b.want(t, `:put [/disk print as-value proplist=slot,comment where type=file]`, ".id=*2;slot=x\r\n")
	b.want(t, `/disk print as-value`, "")
}

func TestVersionAndPackageGates(t *testing.T) {
	tests := []struct {
		name, version string
		withoutRose   bool
		line, want    string
	}{
		{"file disks need 7.17", "7.16.2", false, `/disk add type=file file-path=raid10/x.img`, "expected end of command (line 1 column 21)\r\n"},
		{"the JSON option needs 7.17", "7.16.2", false, `:put [:serialize to=json options=json.no-string-conversion value=1]`, "expected end of command (line 1 column 26)\r\n"},
		{"compress needs 7.18", "7.17", false, `/disk set x compress=no`, "expected end of command (line 1 column 13)\r\n"},
		{"NQN needs 7.21", "7.20.8", false, `/disk set x nvme-tcp-server-nqn=a`, "expected end of command (line 1 column 13)\r\n"},
		{"export needs the package", "7.24.4", true, `/disk set x nvme-tcp-export=no`, "expected end of command (line 1 column 13)\r\n"},
		{"the package is listed", "7.24.4", false, `:put [:len [/system package find where name="rose-storage" disabled=no]]`, "1\r\n"},
		{"or not", "7.24.4", true, `:put [:len [/system package find where name="rose-storage" and disabled=no]]`, "0\r\n"},
		{"version", "7.22.1", false, `:put [/system resource get version]`, "7.22.1 (stable)\r\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := open(t, func(o *appliance.Options) { o.Version, o.WithoutRose = test.version, test.withoutRose })
			b.want(t, test.line, test.want)
		})
	}
}

func TestBefore721TheNQNIsTheSlot(t *testing.T) {
	b := open(t, func(o *appliance.Options) { o.Version = "7.20.8" })
	b.run(t, `/disk add type=file slot=x file-path=raid10/x.img file-size=1G nvme-tcp-export=yes`)
	if _, err := b.exports.Connect("x", "host"); err != nil {
		t.Errorf("connect to the slot name: %v", err)
	}
}

func TestUptimeCountsFromTheGivenOne(t *testing.T) {
	if got := open(t, nil).run(t, `:put [/system resource get uptime]`); !strings.HasPrefix(got, "1d00:00:") {
		t.Errorf("got %q, want a day", got)
	}
}

func TestPermissionsPerPolicy(t *testing.T) {
	tests := []struct {
		name   string
		revoke func(*appliance.Policies)
		line   string
		want   string
	}{
		{"no write", func(p *appliance.Policies) { p.Write = false }, `/disk set [find where slot=x] comment=y`, "not enough permissions (9) (/disk/set; line 1)\r\n"},
		{"no write to files", func(p *appliance.Policies) { p.Write = false }, `/file remove [find]`, "not enough permissions (9) (/file/remove; line 1)\r\n"},
		{"no read", func(p *appliance.Policies) { p.Read = false }, `:put [/disk find]`, "not enough permissions (9) (/disk/find; line 1)\r\n"},
		{"no test", func(p *appliance.Policies) { p.Test = false }, `:put [/system resource get version]`, "not allowed (9) (/system/resource/get; line 1)\r\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := open(t, nil)
			b.run(t, add)
			test.revoke(&b.policies)
			b.want(t, test.line, test.want)
			b.policies = appliance.AllPolicies()
			b.want(t, `:put [/disk get x comment]; :put [:len [/file find where name="raid10/x.img"]]`, "\r\n1\r\n")
		})
	}
}

func TestExportFollowsTheDisk(t *testing.T) {
	b := open(t, nil)
	reachable := func(nqn, host string, want bool) {
		t.Helper()
		session, err := b.exports.Connect(nqn, host)
		if (err == nil) != want || err != nil && !errors.Is(err, export.ErrRefused) {
			t.Errorf("connect %s to %s: got error %v, want success %v", host, nqn, err, want)
		}
		if err == nil {
			b.exports.End(session.ID)
		}
	}
	b.run(t, add)
	reachable("nqn:x", "a", false)
	b.run(t, exportX)
	reachable("nqn:x", "a", true)
	b.run(t, `/disk set x nvme-tcp-server-nqn="nqn:x2"`)
	reachable("nqn:x", "a", false)
	reachable("nqn:x2", "a", true)
	b.run(t, `/disk set x nvme-tcp-server-allow-host-name="b"`)
	reachable("nqn:x2", "a", false)
	reachable("nqn:x2", "b", true)
	b.run(t, `/disk set x nvme-tcp-server-allow-host-name=""`)
	reachable("nqn:x2", "a", true)
	b.run(t, `/disk set x nvme-tcp-export=no`)
	reachable("nqn:x2", "a", false)
	b.run(t, `/disk set x nvme-tcp-export=yes; /disk remove x`)
	reachable("nqn:x2", "a", false)
}

func TestOnlyTakingTheExportAwayCutsAHost(t *testing.T) {
	tests := []struct {
		line string
		cut  bool
	}{
		{`/disk set x nvme-tcp-export=no`, true},
		{`/disk set x nvme-tcp-server-nqn="nqn:other"`, true},
		{`/disk remove x`, true},
		{`/disk set x nvme-tcp-server-allow-host-name="someone-else"`, false},
		{`/disk set x comment="new"`, false},
		{`/disk set x file-size=2G`, false},
		{`/disk set x nvme-tcp-export=yes`, false},
	}
	for _, test := range tests {
		t.Run(test.line, func(t *testing.T) {
			b := open(t, nil)
			b.run(t, add+`nvme-tcp-export=yes`)
			session, err := b.exports.Connect("nqn:x", "host")
			if err != nil {
				t.Fatal(err)
			}
			b.want(t, test.line, "")
			select {
			case <-session.Revoked():
				if !test.cut {
					t.Error("the host was cut, want it left alone")
				}
			default:
				if test.cut {
					t.Error("the host was left alone, want it cut")
				}
			}
		})
	}
}

func TestTheSizeIsLatchedWhileExported(t *testing.T) {
	size := func(b *bench) int64 {
		session, err := b.exports.Connect("nqn:x", "host")
		if err != nil {
			t.Fatal(err)
		}
		defer b.exports.End(session.ID)
		return session.Size
	}
	b := open(t, nil)
	b.run(t, add+`nvme-tcp-export=yes; /disk set x file-size=2G`)
	if got := size(b); got != 1<<30 {
		t.Errorf("after growing: got %d, want the old 1 GiB", got)
	}
	b.run(t, `/disk set x nvme-tcp-export=no; /disk set x nvme-tcp-export=yes`)
	if got := size(b); got != 2<<30 {
		t.Errorf("after a new export: got %d, want 2 GiB", got)
	}

	b = open(t, func(o *appliance.Options) { o.Unknowns.LiveResize = true })
	b.run(t, add+`nvme-tcp-export=yes; /disk set x file-size=2G`)
	if got := size(b); got != 2<<30 {
		t.Errorf("with live resize: got %d, want 2 GiB", got)
	}
}

func TestShrinkIsAllowedOnRequest(t *testing.T) {
	b := open(t, func(o *appliance.Options) { o.Unknowns.AllowShrink = true })
	b.run(t, add)
	b.want(t, `/disk set x file-size=1M; :put [/disk get x size]`, "1048576\r\n")
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

func TestLinesInterleaveByStatement(t *testing.T) {
	b := open(t, nil)
	b.run(t, add)
	statements := 0
	// Before the second statement of one line, another line runs whole.
	before := func() error {
		if statements++; statements == 2 {
			b.run(t, `/disk set x comment="second"`)
		}
		return nil
	}
	out, err := b.Exec(t.Context(), b.policies, `/disk set x comment="first"; :put [/disk get x comment]`, before)
	if err != nil || out != "second\r\n" {
		t.Errorf("got %q, %v, want the other line's comment", out, err)
	}
}

func TestOtherLinesRunWhileAHostIsBeingCutOff(t *testing.T) {
	b := open(t, func(o *appliance.Options) { o.Exports = export.New(export.Options{RevokeWait: time.Minute}) })
	b.run(t, add+`nvme-tcp-export=yes`)
	session, err := b.exports.Connect("nqn:x", "host")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan string)
	go func() {
		out, err := b.Exec(t.Context(), b.policies, `/disk set x nvme-tcp-export=no; :put done`, nil)
		done <- fmt.Sprint(out, err)
	}()
	<-session.Revoked()
	b.want(t, `:put [/disk get x nvme-tcp-export]`, "false\r\n")
	select {
	case out := <-done:
		t.Errorf("the line ended with %q before its host did", out)
	default:
	}
	b.exports.End(session.ID)
	if got := <-done; got != "done\r\n<nil>" {
		t.Errorf("got %q, want done", got)
	}
}
