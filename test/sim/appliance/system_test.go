package appliance_test

import (
	"strings"
	"testing"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
)

func TestSystemMenus(t *testing.T) {
	b := open(t, func(o *appliance.Options) { o.MaxSessions = 20 })
	for line, want := range map[string]string{
		`:put [/system identity get name]`:                       "MikroTik",
		`/system identity print`:                                 "  name: MikroTik",
		`:put [/system resource get architecture-name]`:          "arm64",
		`:put [/system resource get board-name]`:                 "RDS2216-2XG-4S+4XS-2XQ",
		`:put [:len [/system routerboard get serial-number]]`:    "10",
		`:put [/system package get rose-storage version]`:        "7.24.4",
		`/system package print count-only`:                       "2",
		`:put [:len [/system health find where type=C]]`:         "2",
		`:put [/system health get cpu-temperature value]`:        "48",
		`:put [/ip service get ssh max-sessions]`:                "20",
		`/ip service print count-only where dynamic`:             "0",
		`/user active print count-only`:                          "0",
		`:put [/system clock get colour]`:                        "input does not match any value of value-name (/system/clock/get; line 1)",
		`:put [:len [/system clock get date]]`:                   "10",
		`:put [/system identity print as-value]`:                 "name=MikroTik",
		`:put [:serialize to=json value=[/system identity get]]`: `{"name":"MikroTik"}`,
	} {
		b.want(t, line, want+"\r\n")
	}
}

func TestResourcePrintsForPeople(t *testing.T) {
	got := open(t, func(o *appliance.Options) { o.Uptime = 10*24*time.Hour + 15*time.Hour }).run(t, `/system resource print`)
	for _, want := range []string{
		"             uptime: 1w3d15:00:", "            version: 7.24.4 (stable)\r\n", "  architecture-name: arm64\r\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("got\n%s\nwant %q in it", got, want)
		}
	}
}

func TestLoginsAreUsersAndDynamicServices(t *testing.T) {
	since := time.Date(2026, time.January, 2, 3, 4, 5, 0, time.Local)
	b := open(t, func(o *appliance.Options) {
		o.Logins = func() []appliance.Login { return []appliance.Login{{User: "csi", Address: "10.0.0.9", Since: since}} }
	})
	b.want(t, `:put [/user active print as-value]`, ".id=*1;address=10.0.0.9;name=csi;via=ssh;when=2026-01-02 03:04:05\r\n")
	b.want(t, `:put [/ip service print as-value proplist=name,remote where dynamic]`, ".id=*2;name=ssh;remote=10.0.0.9\r\n")
	b.want(t, `/ip service print terse proplist=name`, " 0    name=ssh\r\n 1 Dc name=ssh\r\n")
}

func TestMaxSessionsNeeds716(t *testing.T) {
	b := open(t, func(o *appliance.Options) { o.Version = "7.15.3" })
	b.want(t, `:put [/ip service get ssh max-sessions]`, "input does not match any value of value-name\r\n")
}

func TestEachMenuNeedsItsPolicy(t *testing.T) {
	const permissions, allowed = "not enough permissions (9)", "not allowed (9)"
	all := appliance.AllPolicies()
	noRead, noWrite, noTest := all, all, all
	noRead.Read, noWrite.Write, noTest.Test = false, false, false
	lines := map[string]struct {
		policies appliance.Policies
		want     string
	}{
		`/disk/add type=file slot=y`:                {noWrite, permissions},
		`/disk/set x comment=y`:                     {noWrite, permissions},
		`/disk/unset x comment`:                     {noWrite, permissions},
		`/disk/enable x`:                            {noWrite, permissions},
		`/disk/disable x`:                           {noWrite, permissions},
		`/disk/comment x comment=y`:                 {noWrite, permissions},
		`/disk/copy src=x dst=raid10/y.img`:         {noWrite, permissions},
		`/disk/trim raid10`:                         {noWrite, permissions},
		`/disk/remove x`:                            {noWrite, permissions},
		`/file/add name=raid10/y`:                   {noWrite, permissions},
		`/file/copy raid10/x.img name=raid10/y.img`: {noWrite, permissions},
		`/file/remove raid10/x.img`:                 {noWrite, permissions},
		`/disk/print`:                               {noRead, permissions},
		`/disk/monitor-traffic x once`:              {noTest, allowed},
		`/file/print`:                               {noRead, permissions},
		`/system/resource/print`:                    {noTest, allowed},
		`/system/package/print`:                     {noRead, permissions},
		`/system/health/print`:                      {noRead, permissions},
		`/system/identity/print`:                    {noRead, permissions},
		`/system/clock/print`:                       {noRead, permissions},
		`/system/routerboard/print`:                 {noRead, permissions},
		`/ip/service/print`:                         {noRead, permissions},
		`/user/active/print`:                        {noRead, permissions},
	}
	const state = `:put [/disk print as-value]; :put [/file print as-value]`
	for line, test := range lines {
		t.Run(line, func(t *testing.T) {
			b := open(t, nil)
			b.run(t, add)
			before := b.run(t, state)
			b.policies = test.policies
			command, _, _ := strings.Cut(line, " ")
			b.want(t, line, test.want+" ("+command+"; line 1)\r\n")
			b.policies = all
			if after := b.run(t, state); after != before {
				t.Errorf("a refused command changed something:\nbefore %s\nafter  %s", before, after)
			}
			if got := b.run(t, line); strings.Contains(got, "(9)") {
				t.Errorf("with every policy: got %q, want it allowed", got)
			}
		})
	}
}

func TestAPasswordNeedsSensitive(t *testing.T) {
	const get, print, asked = `:put [/disk get x nvme-tcp-server-password]`,
		`:put [/disk print as-value proplist=nvme-tcp-server-password where slot=x]`,
		`:put [/disk print as-value show-sensitive proplist=nvme-tcp-server-password where slot=x]`
	const blank, shown = ".id=*2;nvme-tcp-server-password=\r\n", ".id=*2;nvme-tcp-server-password=s3cret\r\n"
	b := open(t, nil)
	b.run(t, add+`nvme-tcp-server-password=s3cret`)
	b.want(t, get, "s3cret\r\n")
	b.want(t, print, blank)
	b.want(t, asked, shown)
	b.policies.Sensitive = false
	b.want(t, get, "\r\n")
	b.want(t, asked, blank)
	b.want(t, `:put [:len [/disk find where nvme-tcp-server-password=s3cret]]`, "0\r\n")

	old := open(t, func(o *appliance.Options) { o.Version = "7.20.8" })
	old.run(t, `/disk add type=file slot=x file-path=raid10/x.img file-size=1G nvme-tcp-server-password=s3cret`)
	old.want(t, print, shown)
	old.want(t, asked, "expected end of command (line 1 column 28)\r\n")
}
