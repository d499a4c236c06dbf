package appliance_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/export"
)

func TestBefore721TheNQNIsTheSlot(t *testing.T) {
	b := open(t, func(o *appliance.Options) { o.Version = "7.20.8" })
	b.run(t, `/disk add type=file slot=x file-path=raid10/x.img file-size=1G nvme-tcp-export=yes`)
	if _, err := b.exports.Connect("x", "host"); err != nil {
		t.Errorf("connect to the slot name: %v", err)
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

func TestRemovingADiskLeavesTheExportOfAnotherInItsSlot(t *testing.T) {
	b := open(t, nil)
	b.run(t, add+" nvme-tcp-export=yes")
	if err := b.DuplicateSlot("x"); err != nil {
		t.Fatal(err)
	}
	b.run(t, `/disk remove [find where comment="`+appliance.OperatorComment+`"]`)
	if _, err := b.exports.Connect("nqn:x", "a"); err != nil {
		t.Errorf("got %v, want the first disk to be exported still", err)
	}
}

func TestExportsMayFollowOnlyAtTheEndOfALine(t *testing.T) {
	b := open(t, func(o *appliance.Options) { o.Unknowns.CoalesceExports = true })
	b.run(t, add+" nvme-tcp-export=yes")
	session, err := b.exports.Connect("nqn:x", "a")
	if err != nil {
		t.Fatal(err)
	}
	b.run(t, `/disk set x nvme-tcp-export=no; /disk set x nvme-tcp-server-nqn="nqn:x2"; /disk set x nvme-tcp-export=yes`)
	select {
	case <-session.Revoked():
		t.Error("off and on again in one line cut a host")
	default:
	}
	if _, err := b.exports.Connect("nqn:x2", "b"); err == nil {
		t.Error("the new NQN is there")
	}
	b.exports.End(session.ID)
	b.run(t, `/disk set x nvme-tcp-export=no`)
	b.run(t, `/disk set x nvme-tcp-export=yes`)
	if _, err := b.exports.Connect("nqn:x2", "b"); err != nil {
		t.Errorf("off and on again in two lines: %v", err)
	}
	b.run(t, `/disk set x nvme-tcp-export=no; /disk remove x`)
	if b.exports.Listens() {
		t.Error("a disk that is removed in the same line stays exported")
	}
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
