package appliance_test

import (
	"strings"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
)

func TestErrorsBefore720HaveNoPlace(t *testing.T) {
	b := open(t, func(o *appliance.Options) { o.Version = "7.19.6" })
	b.want(t, `/disk remove nosuch`, "no such item\r\n")
}

func TestAnEmptyPrintIsAListOrAnEmptyString(t *testing.T) {
	const line = `:put [:serialize to=json value=[/disk print as-value where slot=no]]`
	open(t, nil).want(t, line, "[]\r\n")
	open(t, func(o *appliance.Options) { o.Unknowns.EmptyListAsString = true }).want(t, line, `""`+"\r\n")
}

func TestLineEndsMayBeSerializedAsTheyAre(t *testing.T) {
	line := `:put [:serialize to=json options=json.no-string-conversion value="a\r\nb\\n"]`
	open(t, nil).want(t, line, `"a\r\nb\\n"`+"\r\n")
	open(t, func(o *appliance.Options) { o.Unknowns.RawControls = true }).want(t, line, "\"a\r\r\nb\\\\n\"\r\n")
}

func TestAFileSizeMayBeAutomatic(t *testing.T) {
	b := open(t, func(o *appliance.Options) { o.Unknowns.AutoFileSize = true })
	b.run(t, add)
	b.want(t, `:put [/disk get x file-size]`, "1073741824\r\n")
	b.want(t, `/disk remove x; /disk add type=file slot="x" file-path="/raid10/x.img"; :put [/disk get x file-size]; :put [/disk get x size]`, "auto\r\n1073741824\r\n")
	b.want(t, `/disk set x file-size=2G; :put [/disk get x file-size]`, "2147483648\r\n")
}

func TestAPathMayBeSpeltAndFoundOtherwise(t *testing.T) {
	for spelling, want := range map[appliance.PathSpelling]string{
		appliance.Slashed: "/raid10/x.img\r\n1\r\n0\r\n", appliance.Bare: "raid10/x.img\r\n0\r\n1\r\n", appliance.FoundBare: "/raid10/x.img\r\n0\r\n1\r\n",
		appliance.NeverFound: "/raid10/x.img\r\n0\r\n0\r\n",
	} {
		b := open(t, func(o *appliance.Options) { o.Unknowns.PathSpelling = spelling })
		b.run(t, add)
		b.want(t, `:put [/disk get x file-path]; :put [:len [/disk find where file-path="/raid10/x.img"]]; :put [:len [/disk print as-value where file-path="raid10/x.img"]]`, want)
	}
}

func TestAPrintMayBeCut(t *testing.T) {
	b := open(t, func(o *appliance.Options) { o.Unknowns.PrintMax = 1 })
	b.run(t, add)
	b.want(t, `:put [:len [/disk find]]; :put [:len [/disk print as-value]]; :put [:len [/disk print as-value where slot=x]]`, "2\r\n1\r\n1\r\n")
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
		{"swap needs 7.17", "7.16.2", false, `/disk set x swap=no`, "expected end of command (line 1 column 13)\r\n"},
		{"a mount point template needs 7.17", "7.16.2", false, `/disk set x mount-point-template=""`, "expected end of command (line 1 column 13)\r\n"},
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
	out, err := b.Exec(t.Context(), b.policies, `/disk set x comment="first"; :put [/disk get x comment]`, &appliance.Hooks{BeforeStatement: before})
	if err != nil || out != "second\r\n" {
		t.Errorf("got %q, %v, want the other line's comment", out, err)
	}
}

func TestALineBreakIsASyntaxErrorOrTheEnd(t *testing.T) {
	const lines = ":put 1\n:put 2"
	open(t, nil).want(t, lines, "syntax error (line 1 column 7)\r\n")
	open(t, func(o *appliance.Options) { o.Unknowns.FirstLineOnly = true }).want(t, lines, "1\r\n")
}
