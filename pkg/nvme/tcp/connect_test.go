package tcp_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme/tcp"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/export"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/nvmetcp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	subsystem = "nqn.2026-11.test:x"
	host      = "nqn.2026-11.test:host"
)

// listen serves every connection with handle until the test ends.
func listen(t *testing.T, handle func(ctx context.Context, l net.Listener) error) (address string) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- handle(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		_ = l.Close()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return l.Addr().String()
}

// target is a target with one subsystem, which admits the host.
func target(t *testing.T) (*export.Registry, string) {
	t.Helper()
	exports := export.New(export.Options{RevokeWait: time.Minute})
	exports.Publish(export.Subsystem{Slot: "x", NQN: subsystem, AllowHost: host})
	return exports, listen(t, nvmetcp.New(nvmetcp.Options{}, exports).Run)
}

func TestAConnectionLastsUntilItsSubsystemIsTakenAway(t *testing.T) {
	exports, address := target(t)
	connection, err := tcp.Connect(t.Context(), address, subsystem, host)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	select {
	case <-connection.Ended():
		t.Fatal("it ended by itself")
	default:
	}
	before := time.Now()
	exports.Withdraw("x")(t.Context())
	<-connection.Ended()
	if at := connection.EndedAt(); at.Before(before) || at.After(time.Now()) {
		t.Errorf("it ended at %s, want between %s and now", at, before)
	}
}

func TestARefusalSaysWhy(t *testing.T) {
	exports, address := target(t)
	exports.Publish(export.Subsystem{Slot: "y", NQN: "nqn.2026-11.test:y"})
	tests := map[string]struct {
		subsystem, host, want string
		status                uint16
	}{
		"no such subsystem": {"nqn.2026-11.test:z", host, "no such subsystem", 0x4182},
		"another host":      {subsystem, "nqn.2026-11.test:other", "doesn't admit this host", 0x4184},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := tcp.Connect(t.Context(), address, test.subsystem, test.host)
			refused, ok := errors.AsType[*tcp.RefusedError](err)
			if !ok || refused.Status != test.status || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want status %#x and %q", err, test.status, test.want)
			}
		})
	}
	longest := "nqn.2026-11.test:" + strings.Repeat("n", 223-len("nqn.2026-11.test:"))
	exports.Publish(export.Subsystem{Slot: "z", NQN: longest, AllowHost: longest})
	connection, err := tcp.Connect(t.Context(), address, longest, longest)
	if err != nil {
		t.Fatalf("the longest names: %v", err)
	}
	connection.Close()
	if _, err := tcp.Connect(t.Context(), address, longest+"n", host); err == nil || !strings.Contains(err.Error(), "223") {
		t.Errorf("a name that is too long: %v", err)
	}
}

func TestWhatIsNoTargetIsUnreachable(t *testing.T) {
	answer := func(text string) func(context.Context, net.Listener) error {
		return func(_ context.Context, l net.Listener) error {
			for {
				conn, err := l.Accept()
				if err != nil {
					return nil //nolint:nilerr // the test is over
				}
				_, _ = io.WriteString(conn, text)
				if text != "" {
					_, _ = io.Copy(io.Discard, conn)
				}
				_ = conn.Close()
			}
		}
	}
	closed, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	for name, address := range map[string]string{
		"nobody":                 closed.Addr().String(),
		"who hangs up":           listen(t, answer("")),
		"an SSH server":          listen(t, answer("SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n")),
		"a PDU of another type":  listen(t, answer("\x05\x00\x18\x00\x18\x00\x00\x00"+strings.Repeat("\x00", 16))),
		"a PDU that is cut":      listen(t, answer("\x01\x00\x80\x00\x80\x00\x00\x00")),
		"a PDU of no size":       listen(t, answer("\x01\x00\x80\x00\x00\x00\x00\x00")),
		"a PDU without any end":  listen(t, answer("\x01\x00\x80\x00\xff\xff\xff\xff")),
		"who accepts and stares": listen(t, answer(" ")),
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			if connection, err := tcp.Connect(ctx, address, subsystem, host); !errors.Is(err, tcp.ErrUnreachable) {
				t.Errorf("got %v, %v, want ErrUnreachable", connection, err)
			}
		})
	}
}

// FuzzReply has a target answer with anything: Connect must end, and not with a connection that isn't one.
func FuzzReply(f *testing.F) {
	initialized := "\x01\x00\x80\x00\x80\x00\x00\x00" + strings.Repeat("\x00", 120)
	done := "\x05\x00\x18\x00\x18\x00\x00\x00" + strings.Repeat("\x00", 16)
	f.Add([]byte(initialized + done))
	f.Add([]byte(initialized + done[:22] + "\x04\x83"))
	f.Add([]byte(initialized))
	f.Add([]byte("\x01flg\x80\x00\x00\x00" + initialized[8:] + "\x05flg" + done[4:]))
	f.Fuzz(func(t *testing.T, reply []byte) {
		initiator, target := net.Pipe()
		go func() {
			go func() { _, _ = io.Copy(io.Discard, target) }()
			_, _ = target.Write(reply)
			_ = target.Close()
		}()
		defer func() { _ = initiator.Close() }()
		err := tcp.Open(initiator, subsystem, host)
		// Only the types and the lengths of the two PDUs are looked at.
		opens := len(reply) >= len(initialized)+len(done) && reply[0] == initialized[0] && reply[len(initialized)] == done[0]
		if err == nil && !opens {
			t.Errorf("opened by %q", reply)
		}
	})
}
