package sim_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
)

func TestAStuckLineIsAppliedAfterTheNext(t *testing.T) {
	r := withDisk(t)
	r.Inject(sim.Fault{Kind: sim.AppliedLater}, sim.Once())
	if _, err := r.try(t.Context(), `/disk set x comment="late"`); err == nil {
		t.Error("the stuck line was answered")
	}
	if got, _ := r.try(t.Context(), `:put [/disk get x comment]`); got != "0\r\n" {
		t.Errorf("the next line found %q, want the state before", got)
	}
	if got := r.comment(t); got != "late" {
		t.Errorf("afterwards the comment is %q, want it applied", got)
	}
}

func TestAReplyCanBeLateAndStillArrive(t *testing.T) {
	r := withDisk(t)
	r.Inject(sim.Fault{Kind: sim.Late, Delay: time.Millisecond}, sim.When{})
	if got, err := r.try(t.Context(), `:put 1`); got != "1\r\n" || err != nil {
		t.Errorf("got %q, %v, want the reply after its delay", got, err)
	}
}

func TestAReplyLosesItsTail(t *testing.T) {
	r := newRig(t)
	for keep, want := range map[int]string{-3: "hell", -100: "", 2: "he"} {
		i := r.Inject(sim.Fault{Kind: sim.Truncate, Keep: keep}, sim.When{})
		if got, err := r.try(t.Context(), `:put hello`); got != want || err != nil {
			t.Errorf("keep %d: got %q, %v, want %q and an exit status", keep, got, err, want)
		}
		i.Remove()
	}
}

func TestALogIsEchoedIntoAReply(t *testing.T) {
	r := newRig(t)
	for keep, want := range map[int]string{0: "loghello\r\n", 2: "helogllo\r\n", 100: "hello\r\nlog"} {
		i := r.Inject(sim.Fault{Kind: sim.Echo, Keep: keep, Line: "log"}, sim.When{})
		if got, err := r.try(t.Context(), `:put hello`); got != want || err != nil {
			t.Errorf("keep %d: got %q, %v, want %q", keep, got, err, want)
		}
		i.Remove()
	}
}

func TestARejectedLineIsNotRun(t *testing.T) {
	r := withDisk(t)
	r.Inject(sim.Fault{Kind: sim.Reject, Line: "syntax error"}, sim.When{})
	if got, err := r.try(t.Context(), `/disk set x comment="1"`); got != "syntax error\r\n" || err != nil || r.comment(t) != "0" {
		t.Errorf("got %q, %v and the comment %q, want the error only", got, err, r.comment(t))
	}
}

func TestAPolicyIsLostInTheMiddleOfALife(t *testing.T) {
	lines := map[string]string{
		`/disk set x comment="1"`:            "write",
		`:put [/disk get x comment]`:         "read",
		`:put [/system resource get uptime]`: "read test",
	}
	r := withDisk(t)
	for _, policy := range []string{"write", "read", "test"} {
		i := r.Inject(sim.Fault{Kind: sim.LosePolicy, Policy: policy}, sim.When{})
		for line, needs := range lines {
			got, err := r.try(t.Context(), line)
			if refused := strings.Contains(got, "(9)"); refused != strings.Contains(needs, policy) || err != nil {
				t.Errorf("without %s, %s gives %q, %v", policy, line, got, err)
			}
		}
		i.Remove()
	}
}

func TestPoolsGoThroughBadTimes(t *testing.T) {
	const show = `:put [/disk print as-value proplist=free,mounted,state where slot="raid10"]; ` +
		`:put [:len [/file find]]; :put [/disk get x empty]; /disk add type=file slot=y file-path=raid10/y.img file-size=1M`
	tests := map[sim.FaultKind]string{
		sim.PoolFull:      ".id=*1;free=0;mounted=true;state=clean|2|false|failure: not enough disk space (/disk/add; line 1)|",
		sim.PoolDegraded:  ".id=*1;free=107373133824;mounted=true;state=degraded|2|false|",
		sim.PoolUnmounted: ".id=*1;mounted=false;state=clean|0|true|failure: no such directory (/disk/add; line 1)|",
	}
	for kind, want := range tests {
		r := withDisk(t)
		r.connect(t, "nqn:0")
		r.Inject(sim.Fault{Kind: kind}, sim.Once())
		out, err := r.try(t.Context(), show)
		if got := strings.ReplaceAll(out, "\r\n", "|"); got != want || err != nil {
			t.Errorf("%s:\ngot  %q, %v\nwant %q", kind, got, err, want)
		}
		if got := r.broken() == 1; got != (kind == sim.PoolUnmounted) {
			t.Errorf("%s: the initiator's connection is broken: %t", kind, got)
		}
		if got := r.operate(t, `:put [/disk get raid10 mounted]; :put [/disk get raid10 state]`); got != "true\r\nclean" {
			t.Errorf("%s: afterwards %q, want it over", kind, got)
		}
		if status := r.connect(t, "nqn:0"); status != http.StatusOK {
			t.Errorf("%s: connect afterwards: status %d", kind, status)
		}
	}
}

func TestAPoolStaysBadWhileTheFaultHasNoEnd(t *testing.T) {
	r := withDisk(t)
	i := r.Inject(sim.Fault{Kind: sim.PoolUnmounted}, sim.When{})
	for range 2 {
		if _, err := r.try(t.Context(), `:put 1`); err != nil {
			t.Fatal(err)
		}
		if got := r.operate(t, `:put [/disk get raid10 mounted]`); got != "false" {
			t.Errorf("between two lines: mounted=%s, want it to stay away", got)
		}
	}
	i.Remove()
	if got := r.operate(t, `:put [/disk get raid10 mounted]`); got != "true" {
		t.Errorf("after the fault was removed: mounted=%s", got)
	}
}

func TestCommandsGoHalfWay(t *testing.T) {
	const (
		add    = `/disk add type=file slot="y" file-path="/raid10/y.img" file-size=1M nvme-tcp-export=yes`
		remove = `/disk remove [find where slot="x"]; /file remove [find where name="raid10/x.img"]`
		failed = "failure: interrupted (/disk/"
	)
	tests := []struct {
		kind          sim.FaultKind
		line, output  string
		disks, export string
		files         string
	}{
		{sim.NoFault, add, "", "x,y", "x,y", "x.img,y.img"},
		{sim.NoFault, remove, "", "", "", ""},
		{sim.HalfAdd, add, failed, "x", "x", "x.img,y.img"},
		{sim.HalfRemoveExport, remove, failed, "x", "", "x.img"},
		{sim.HalfRemoveItem, remove, failed, "", "", "x.img"},
		{sim.FileStays, remove, "failure: interrupted (/file/", "", "", "x.img"},
		{sim.FileVanished, `/disk set [find where slot="x"] comment="1"`, "", "x", "x", ""},
		{sim.HalfRemoveItem, `/disk remove [find where slot="z"]; /file remove [find where name=""]`, "", "x", "x", "x.img"},
	}
	for _, test := range tests {
		t.Run(string(test.kind)+" "+test.line, func(t *testing.T) {
			r := withDisk(t)
			if test.kind != sim.NoFault {
				r.Inject(sim.Fault{Kind: test.kind}, sim.Once())
			}
			output, err := r.try(t.Context(), test.line)
			if !strings.HasPrefix(output, test.output) || output == "" != (test.output == "") || err != nil {
				t.Errorf("got %q, %v, want %q", output, err, test.output)
			}
			var disks, exports []string
			for _, disk := range r.Disks() {
				disks = append(disks, disk.Slot)
				if r.connect(t, disk.SubsystemNQN) == http.StatusOK {
					exports = append(exports, disk.Slot)
				}
			}
			files := r.operate(t, `:put [:serialize to=json value=[/file print as-value proplist=name where name~"img"]]`)
			got := []string{strings.Join(disks, ","), strings.Join(exports, ","), strings.Join(regexp.MustCompile(`\w\.img`).FindAllString(files, -1), ",")}
			if diff := cmp.Diff([]string{test.disks, test.export, test.files}, got); diff != "" {
				t.Errorf("disks, exports and files (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAnOperatorDuplicatesASlot(t *testing.T) {
	r := withDisk(t)
	r.Inject(sim.Fault{Kind: sim.DuplicateSlot}, sim.Once())
	if got, err := r.try(t.Context(), `:put [:len [/disk find where slot="x"]]`); got != "2\r\n" || err != nil {
		t.Errorf("got %q, %v, want two disks", got, err)
	}
	r.operate(t, `/disk remove [find where comment="`+appliance.OperatorComment+`"]`)
	if got := r.comment(t); got != "0" {
		t.Errorf("the other disk's comment is %q, want it untouched", got)
	}
}

func TestSomebodyElseActsBetweenTwoStatements(t *testing.T) {
	const line = `/disk set [find where slot="x" comment="0"] comment="a"; /disk set [find where slot="x" comment="a"] comment="b"`
	other := `/disk set [find where slot="{slot}" comment="a"] comment="other"`
	for statements, want := range map[int]string{0: "b", 1: "other", 2: "b", sim.WholeLine: "b"} {
		r := withDisk(t)
		var told string
		r.Inject(sim.Fault{
			Kind: sim.Interleave, Statements: statements, Lines: []string{other}, Act: func(command string) { told = command },
		}, sim.Once())
		if _, err := r.try(t.Context(), line); err != nil || told != line {
			t.Errorf("got %v, and %q was told", err, told)
		}
		if got := r.comment(t); got != want {
			t.Errorf("after %d statements: got %q, want %q", statements, got, want)
		}
	}
}

func TestAnotherHostKeyIsAlwaysTheSame(t *testing.T) {
	r := newRig(t)
	changed, err := r.ChangedHostKey()
	if err != nil {
		t.Fatal(err)
	}
	r.Inject(sim.Fault{Kind: sim.HostKeyChanged}, sim.When{})
	for range 2 {
		client, err := ssh.Dial("tcp", r.SSHAddr(), &ssh.ClientConfig{
			User: "ops", Auth: []ssh.AuthMethod{ssh.PublicKeys(r.signer)}, HostKeyCallback: ssh.FixedHostKey(changed),
		})
		if err != nil {
			t.Fatalf("log in with the changed key pinned: %v", err)
		}
		_ = client.Close()
	}
	if _, err := r.login(t.Context()); err == nil {
		t.Error("logged in with the old key pinned")
	}
}

func TestTroubleWithConnectionsFindsThoseThereAre(t *testing.T) {
	r := newRig(t)
	client, err := r.login(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r.Inject(sim.Fault{Kind: sim.AuthRefused}, sim.Once())
	if err := client.Wait(); err == nil {
		t.Error("the connection ended in peace, want it cut")
	}
	if _, err := r.login(t.Context()); err == nil || !strings.Contains(err.Error(), "unable to authenticate") {
		t.Errorf("log in: got %v, want a refusal", err)
	}
	if _, err := r.login(t.Context()); err != nil {
		t.Errorf("log in again: %v", err)
	}
}
