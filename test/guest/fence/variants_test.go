package fence

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/test/guest/world"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
)

// variant is what node A, or the appliance, is doing around the take-over.
type variant struct {
	name string
	// away says that A is the other machine. What may hang A's kernel needs that: this one has to end its processes.
	away bool
	// options are those of A's connection, if A is frozen meanwhile. It is away then.
	options []string
	// before is called when the take-over is about to be asked for, and what it returns right after the take-over.
	before func(*testing.T, *siege) (then func())
	// after is called once the new holder uses the volume.
	after func(*testing.T, *siege)
}

func variants() []variant {
	return []variant{
		notTold(),
		frozen(),
		{name: "A is frozen for longer than its keep-alive lasts", away: true, options: []string{"keep_alive_tmo=1"}, before: freezeUntilGivenUp, after: quiet},
		{name: "A is reconnecting", away: true, before: reconnect, after: quiet},
		{name: "the target was away", before: restart, after: quiet},
		{name: "A connects again and again", before: connectAgain, after: quiet},
		{name: "the appliance reboots afterwards", before: connectAgain, after: reboot},
	}
}

func notTold() variant {
	return variant{name: "A is not told", before: func(*testing.T, *siege) func() { return func() {} }, after: quiet}
}

func frozen() variant {
	return variant{name: "A is frozen and wakes up", away: true, options: []string{"keep_alive_tmo=10"}, before: freeze, after: quiet}
}

// frozen tells whether A stands still with all that it has.
func (v variant) frozen() bool { return v.options != nil }

func quiet(*testing.T, *siege) {}

// freeze stops A's machine until the take-over is over. It is so short that the target believes in A's connection.
func freeze(t *testing.T, s *siege) func() {
	t.Helper()
	s.freeze(t)
	if connections(t) == 0 {
		t.Error("the target gave node A up before the take-over")
	}
	return func() { s.thaw(t) }
}

// freezeUntilGivenUp is freeze for so long that the target takes A's connection down before the take-over. A sleeps on.
func freezeUntilGivenUp(t *testing.T, s *siege) func() {
	t.Helper()
	s.freeze(t)
	world.Eventually(t, "the target gives node A up", func() bool { return connections(t) == 0 })
	return func() { s.thaw(t) }
}

func (s *siege) freeze(t *testing.T) {
	t.Helper()
	s.w.monitor.freeze(t)
	s.frozen = &Standing{}
	*s.frozen = s.standing(t, 0)
}

// thaw has A go on if it is frozen, and sees to it that it was until now.
func (s *siege) thaw(t *testing.T) {
	t.Helper()
	if s.frozen == nil {
		return
	}
	defer func() {
		s.frozen = nil
		s.w.monitor.thaw(t)
	}()
	if now := s.standing(t, 0); now != *s.frozen {
		t.Errorf("node A went on while it was to be frozen: first %+v, then %+v", *s.frozen, now)
	}
}

// connections counts those of the other machine that the target has: lines of /proc/net/tcp with its port on this side, the
// other's address, and the state established (1).
func connections(t *testing.T) int {
	t.Helper()
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	host, _, err := net.SplitHostPort(os.Getenv("RDS_CSI_GUEST_OTHER"))
	if err != nil {
		t.Fatal(err)
	}
	other := netip.MustParseAddr(host).As4()
	remote := fmt.Sprintf("%08X:", binary.NativeEndian.Uint32(other[:]))
	count := 0
	for line := range strings.Lines(string(table)) {
		if fields := strings.Fields(line); strings.HasSuffix(fields[1], ":1144") && strings.HasPrefix(fields[2], remote) && fields[3] == "01" {
			count++
		}
	}
	return count
}

// refusals counts how often the target said that it was asked for the subsystem, which it hasn't any more.
func refusals(t *testing.T, nqn string) int {
	t.Helper()
	const readAll = 3 // SYSLOG_ACTION_READ_ALL
	said := make([]byte, 1<<20)
	n, err := syscall.Klogctl(readAll, said)
	if err != nil {
		t.Fatalf("read the kernel's log: %v", err)
	}
	return bytes.Count(said[:n], []byte("connect request for invalid subsystem "+nqn+"!"))
}

// reconnect has A's kernel make its connection anew. Linux 6.1, when it is refused meanwhile, may never again give up what is
// being written, nor the controller.
func reconnect(t *testing.T, s *siege) func() {
	t.Helper()
	reset := s.a.start("Reset", Order{NQN: s.nqn})
	return func() { s.a.wait(t, reset) }
}

// restart takes the appliance down and up: A's kernel tries to come back while the take-over is asked for.
func restart(t *testing.T, s *siege) func() {
	t.Helper()
	reboot(t, s)
	return func() {}
}

// connectAgain connects under the old NQN until the siege is over, as another program than the kernel.
func connectAgain(t *testing.T, s *siege) func() {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		for ctx.Err() == nil {
			_, _ = world.Connect(s.nqn, nvme.HostOf("machine-a"), "reconnect_delay=1", "ctrl_loss_tmo=-1")
			s.connects.Add(1)
			<-time.After(5 * time.Millisecond)
		}
	})
	s.atEnd = func() {
		cancel()
		done.Wait()
	}
	return func() {}
}

func reboot(t *testing.T, s *siege) {
	t.Helper()
	if err := s.w.Sim.Reboot(t.Context(), appliance.Boot{}); err != nil {
		t.Error(err)
	}
	for s.w.Sim.Phase() != appliance.Up {
		<-time.After(300 * time.Millisecond) // A finds the port closed
		s.w.Sim.NextPhase()
	}
	s.w.Sim.Advance(time.Hour) // past the boot window
}
