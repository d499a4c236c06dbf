package transport

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// answered runs a command that has to succeed.
func answered(t *testing.T, s *SSH, command string) {
	t.Helper()
	if got, err := s.Exec(t.Context(), command); err != nil || got != command+"!" {
		t.Errorf("%s: got %q, %v, want the echo", command, got, err)
	}
}

func TestOneConnectionIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s := newPeer(t)
		for i := range 10 {
			answered(t, s, fmt.Sprintf("command %d", i))
			<-time.After(time.Hour)
		}
		if got := p.dials.Load(); got != 1 {
			t.Errorf("10 commands: got %d connections, want 1", got)
		}
	})
}

// An appliance that is away for hours is asked for now and then, not by every caller, and leaves nothing behind: a
// goroutine that stayed would fail the bubble.
func TestHoursOfAbsence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s := newPeer(t)
		answered(t, s, "before")
		p.away.Store(true)
		s.mu.Lock()
		gone := s.current
		s.mu.Unlock()
		_ = gone.client.Close()
		synctest.Wait()
		const absence = 5 * time.Hour
		for start := time.Now(); time.Since(start) < absence; <-time.After(time.Second) {
			if _, err := s.Exec(t.Context(), "meanwhile"); !errors.Is(err, ErrUnreachable) || !errors.Is(err, errAway) {
				t.Fatalf("got %v, want ErrUnreachable with its cause", err)
			}
		}
		lowest, highest := int32(absence/defaultReconnectMax), int32(2*absence/defaultReconnectMax)+10
		if got := p.dials.Load(); got < lowest || got > highest {
			t.Errorf("attempts to connect in %s: got %d, want %d to %d", absence, got, lowest, highest)
		}
		_, _ = s.Exec(t.Context(), "begins a wait, unless there is one")
		_, err := s.Exec(t.Context(), "within the wait")
		if !strings.Contains(err.Error(), "tried again in") {
			t.Errorf("got %v, want it to say when it's tried again", err)
		}
		p.away.Store(false)
		<-time.After(defaultReconnectMax)
		answered(t, s, "after")
		// The wait begins anew from the shortest.
		p.away.Store(true)
		s.mu.Lock()
		gone = s.current
		s.mu.Unlock()
		_ = gone.client.Close()
		synctest.Wait()
		if _, err := s.Exec(t.Context(), "away again"); !errors.Is(err, errAway) {
			t.Errorf("got %v, want the fresh cause", err)
		}
		p.away.Store(false)
		<-time.After(defaultReconnectMin)
		answered(t, s, "after the shortest wait")
	})
}

// Every way in which the appliance can fall silent ends by a deadline of ours, not only by the caller's.
func TestEverythingHasADeadline(t *testing.T) {
	tests := map[string]struct {
		silence func(*peer)
		after   time.Duration
		want    error
	}{
		"no banner":          {func(p *peer) { p.connected = mute }, defaultConnectTimeout, ErrUnreachable},
		"channel open":       {func(p *peer) { p.opening = func(int32, ssh.NewChannel) bool { return true } }, openTimeout, ErrUnreachable},
		"no channels at all": {func(p *peer) { p.authenticated = func(_ int32, c ssh.Conn) bool { return c.Wait() != nil } }, openTimeout, ErrUnreachable},
		"exec":               {func(p *peer) { p.exec = hang }, execTimeout, ErrIncomplete},
		"in mid-reply":       {func(p *peer) { p.exec = func(c call) bool { return echo(c) && hang(c) } }, execTimeout, ErrIncomplete},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, s := newPeer(t)
				test.silence(p)
				start := time.Now()
				_, err := s.Exec(t.Context(), "x")
				if !errors.Is(err, test.want) {
					t.Errorf("got %v, want %v", err, test.want)
				}
				if err != nil && !errors.Is(err, context.DeadlineExceeded) && !strings.Contains(err.Error(), "no answer in") {
					t.Errorf("got %v, want it to say that time ran out", err)
				}
				if got := time.Since(start); got != test.after {
					t.Errorf("gave up after %s, want %s", got, test.after)
				}
				synctest.Wait()
				if got := p.live.Load(); got != 0 {
					t.Errorf("connections left open: got %d, want 0", got)
				}
			})
		})
	}
}

// A command that its caller gave up must not break the others on the same connection, nor be waited for by new ones.
func TestASlowCommandBreaksNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s := newPeer(t)
		finish := make(chan struct{})
		p.exec = func(c call) bool {
			switch c.command {
			case "hangs":
				return hang(c)
			case "slow":
				<-finish
			}
			_, err := fmt.Fprintf(c, "%s on %d", c.command, c.n)
			return err == nil
		}
		slow := make(chan string, 1)
		go func() {
			output, err := s.Exec(t.Context(), "slow")
			slow <- fmt.Sprint(output, err)
		}()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.Exec(ctx, "hangs"); !errors.Is(err, ErrIncomplete) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the given up command: got %v, want ErrIncomplete", err)
		}
		if got, err := s.Exec(t.Context(), "new"); err != nil || got != "new on 2" {
			t.Errorf("a new command: got %q, %v, want it on a fresh connection", got, err)
		}
		if got := p.live.Load(); got != 2 {
			t.Errorf("connections while the slow command runs: got %d, want 2", got)
		}
		close(finish)
		if got := <-slow; got != "slow on 1<nil>" {
			t.Errorf("the slow command: got %q, want its answer from the old connection", got)
		}
		synctest.Wait()
		if got := p.live.Load(); got != 1 {
			t.Errorf("connections when it has ended: got %d, want 1", got)
		}
	})
}

// Those who wait for their turn to open a channel go elsewhere when the one before them finds out that nobody answers.
func TestAHangingOpenHoldsUpNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s := newPeer(t)
		answered(t, s, "proves the connection")
		p.opening = func(n int32, _ ssh.NewChannel) bool { return n == 1 }
		results := execAtOnce(t, s, 4)
		failed := 0
		for range cap(results) {
			if err := <-results; err != nil {
				failed++
			}
		}
		if failed != 0 || p.dials.Load() != 2 {
			t.Errorf("got %d failures and %d connections, want none and 2", failed, p.dials.Load())
		}
	})
}

func TestChannelsAreBoundedAndOpenedOneByOne(t *testing.T) {
	for limit, want := range map[int]int32{0: DefaultMaxChannels, 1: 1, HighestMaxChannels: HighestMaxChannels} {
		t.Run(strconv.Itoa(limit), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, s := newPeer(t, func(c *Config) { c.MaxChannels = limit })
				var open, most, behind atomic.Int32
				p.opening = func(_ int32, _ ssh.NewChannel) bool {
					<-time.After(time.Millisecond)
					return false
				}
				p.exec = func(c call) bool {
					most.Store(max(most.Load(), open.Add(1)))
					<-time.After(time.Second)
					open.Add(-1)
					return echo(c)
				}
				p.waiting = func(requests int) { behind.Add(int32(requests)) }
				results := execAtOnce(t, s, 20)
				for range cap(results) {
					if err := <-results; err != nil {
						t.Error(err)
					}
				}
				if got := most.Load(); got != want {
					t.Errorf("commands in flight at most: got %d, want %d", got, want)
				}
				if got := behind.Load(); got != 0 {
					t.Errorf("requests for a channel while another was unanswered: got %d, want 0", got)
				}
			})
		})
	}
}

// What the appliance breaks is told as lost or not sent, for every command in flight, and the next command works.
func TestBrokenConnections(t *testing.T) {
	tests := map[string]func(call) bool{
		"no exit status": func(c call) bool { return !echo(c) },
		"killed": func(c call) bool {
			signal := struct {
				Signal         string
				Core           bool
				Text, Language string
			}{Signal: "KILL"}
			_, err := c.channel.SendRequest("exit-signal", false, ssh.Marshal(signal))
			return err != nil
		},
		"endless reply": func(c call) bool {
			_, err := io.Copy(c, endless{})
			return err == nil
		},
	}
	for name, broken := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, s := newPeer(t)
				p.exec = func(c call) bool {
					if c.n == 1 {
						return broken(c)
					}
					return echo(c)
				}
				if _, err := s.Exec(t.Context(), "x"); !errors.Is(err, ErrIncomplete) {
					t.Errorf("got %v, want ErrIncomplete", err)
				}
				answered(t, s, "next")
			})
		})
	}
}

type endless struct{}

func (endless) Read(data []byte) (int, error) { return len(data), nil }

func TestADropWithSeveralCommandsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s := newPeer(t)
		p.exec = func(c call) bool {
			if c.n == 1 {
				return hang(c)
			}
			return echo(c)
		}
		var wire net.Conn
		p.connected = func(n int32, conn net.Conn) bool {
			if n == 1 {
				wire = conn
			}
			return false
		}
		results := execAtOnce(t, s, 4)
		synctest.Wait()
		_ = wire.Close()
		for range cap(results) {
			if err := <-results; !errors.Is(err, ErrIncomplete) {
				t.Errorf("got %v, want ErrIncomplete", err)
			}
		}
		answered(t, s, "next")
	})
}

// A connection that ended while nothing was on it costs no command: nothing was sent, so it's tried on a fresh one.
func TestAStaleConnectionCostsNoCommand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s := newPeer(t)
		wires := make(chan net.Conn, 100)
		p.connected = func(_ int32, conn net.Conn) bool {
			wires <- conn
			return false
		}
		answered(t, s, "first")
		for range cap(wires) / 2 {
			_ = (<-wires).Close()
			// Whether the transport has noticed yet is left to chance.
			answered(t, s, "next")
		}
	})
}

// An appliance that lets one in and hangs up is as good as away: it must not be dialled by every caller.
func TestAConnectionOfNoUseCountsAsAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s := newPeer(t)
		p.authenticated = func(int32, ssh.Conn) bool { return true }
		const asked = time.Hour
		for start := time.Now(); time.Since(start) < asked; <-time.After(time.Second) {
			if _, err := s.Exec(t.Context(), "x"); !errors.Is(err, ErrUnreachable) {
				t.Fatalf("got %v, want ErrUnreachable", err)
			}
		}
		if got, highest := p.dials.Load(), int32(2*asked/defaultReconnectMax)+10; got > highest {
			t.Errorf("attempts to connect in %s: got %d, want at most %d", asked, got, highest)
		}
	})
}

// A caller's own impatience says nothing about the appliance, so others needn't wait because of it.
func TestImpatienceIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s := newPeer(t)
		p.opening = func(n int32, _ ssh.NewChannel) bool { return n == 1 }
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.Exec(ctx, "x"); !errors.Is(err, ErrUnreachable) {
			t.Errorf("got %v, want ErrUnreachable", err)
		}
		answered(t, s, "next")
	})
}

// Close ends what is under way, whatever it waits for.
func TestClose(t *testing.T) {
	tests := map[string]func(*peer){
		"idle":       func(*peer) {},
		"in an exec": func(p *peer) { p.exec = hang },
		"opening":    func(p *peer) { p.opening = func(int32, ssh.NewChannel) bool { return true } },
		"in handshake": func(p *peer) {
			p.connected = func(_ int32, c net.Conn) bool { _, _ = io.Copy(io.Discard, c); return true }
		},
	}
	for name, silence := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, s := newPeer(t)
				silence(p)
				start, done := time.Now(), make(chan error, 1)
				go func() {
					_, err := s.Exec(t.Context(), "x")
					done <- err
				}()
				synctest.Wait()
				s.Close()
				if err := <-done; err == nil != (name == "idle") {
					t.Errorf("the command in flight: got %v", err)
				}
				if got := time.Since(start); got != 0 {
					t.Errorf("closing waited for %s, want it to end things at once", got)
				}
				if _, err := s.Exec(t.Context(), "x"); !errors.Is(err, ErrUnreachable) {
					t.Errorf("after closing: got %v, want ErrUnreachable", err)
				}
				synctest.Wait()
				if got := p.live.Load(); got != 0 {
					t.Errorf("connections left open: got %d, want 0", got)
				}
			})
		})
	}
}

// A connection that breaks while logging in is no word about the key.
func TestABrokenLoginIsNoRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s := newPeer(t)
		p.login = func(conn net.Conn) { _ = conn.Close() }
		if _, err := s.Exec(t.Context(), "x"); !errors.Is(err, ErrUnreachable) || errors.Is(err, ErrPermission) || errors.Is(err, ErrHostKey) {
			t.Errorf("got %v, want nothing but ErrUnreachable", err)
		}
	})
}

// A server with keys of several types is asked for the type that is pinned.
func TestThePinnedTypeIsAskedFor(t *testing.T) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	pinned, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(file, []byte(knownhosts.Line([]string{"appliance"}, pinned.PublicKey())+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		p, s := newPeer(t, func(c *Config) { c.KnownHostsFile, c.HostKeyFingerprints = file, nil })
		p.others = []ssh.Signer{pinned}
		answered(t, s, "x")
	})
}
