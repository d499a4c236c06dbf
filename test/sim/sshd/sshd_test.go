package sshd_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/sshd"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// handler answers with what the command names, and lets "block" wait.
type handler struct {
	entered chan struct{}
	release chan struct{}
	ended   chan error
}

func (h *handler) Exec(ctx context.Context, user, command string) sshd.Reply {
	switch command {
	case "drop":
		return sshd.Reply{Output: "part", Ending: sshd.EndDrop}
	case "hang":
		return sshd.Reply{Ending: sshd.EndHang}
	case "block":
		h.entered <- struct{}{}
		select {
		case <-h.release:
		case <-ctx.Done():
		}
		h.ended <- ctx.Err()
	}
	return sshd.Reply{Output: user + ":" + command + "\r\n"}
}

type bench struct {
	*handler
	addr   string
	signer ssh.Signer
	config *ssh.ClientConfig
	stop   context.CancelFunc
}

func newSigner(t *testing.T) ssh.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

func start(t *testing.T, options sshd.Options) *bench {
	t.Helper()
	b := &bench{
		handler: &handler{entered: make(chan struct{}), release: make(chan struct{}), ended: make(chan error, 16)},
		signer:  newSigner(t),
	}
	if options.HostKey == nil {
		options.HostKey = newSigner(t)
	}
	options.Users = map[string][]ssh.PublicKey{"csi": {b.signer.PublicKey()}}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b.addr = l.Addr().String()
	b.config = &ssh.ClientConfig{
		User: "csi", Auth: []ssh.AuthMethod{ssh.PublicKeys(b.signer)},
		HostKeyCallback: ssh.FixedHostKey(options.HostKey.PublicKey()),
	}
	ctx, cancel := context.WithCancel(context.Background())
	b.stop = cancel
	done := make(chan error)
	go func() { done <- sshd.New(options, b.handler).Run(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return b
}

func (b *bench) dial(t *testing.T) *ssh.Client {
	t.Helper()
	client, err := ssh.Dial("tcp", b.addr, b.config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// exec runs a command on a channel of its own.
func exec(client *ssh.Client, command string) (stdout, stderr string, err error) {
	session, err := client.NewSession()
	if err != nil {
		return "", "", err
	}
	defer func() { _ = session.Close() }()
	var out, errs bytes.Buffer
	session.Stdout, session.Stderr = &out, &errs
	err = session.Run(command)
	return out.String(), errs.String(), err
}

func TestAnExecPrintsToStdoutAndExitsWithZero(t *testing.T) {
	client := start(t, sshd.Options{}).dial(t)
	for range 3 {
		stdout, stderr, err := exec(client, "any")
		if stdout != "csi:any\r\n" || stderr != "" || err != nil {
			t.Errorf("got stdout %q, stderr %q, error %v, want the reply, nothing and exit status 0", stdout, stderr, err)
		}
	}
}

func TestADroppedExecHasNoExitStatus(t *testing.T) {
	stdout, _, err := exec(start(t, sshd.Options{}).dial(t), "drop")
	var missing *ssh.ExitMissingError
	if !errors.As(err, &missing) || stdout != "part" {
		t.Errorf("got %q and error %v, want the part before the cut and no exit status", stdout, err)
	}
}

func TestAHangingExecSaysNothing(t *testing.T) {
	client := start(t, sshd.Options{}).dial(t)
	session, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if err := session.Start("hang"); err != nil {
		t.Fatal(err)
	}
	if stdout, _, err := exec(client, "other"); err != nil || stdout != "csi:other\r\n" {
		t.Errorf("another exec meanwhile: got %q, %v", stdout, err)
	}
	ended := make(chan error)
	go func() { ended <- session.Wait() }()
	select {
	case err := <-ended:
		t.Errorf("the hanging exec ended with %v", err)
	default:
	}
	_ = client.Close()
	if err := <-ended; err == nil {
		t.Error("the hanging exec succeeded, want it cut")
	}
}

func TestOnlyKnownKeysOfKnownUsersLogIn(t *testing.T) {
	b := start(t, sshd.Options{})
	refused := func(name string, change func(*ssh.ClientConfig)) {
		t.Helper()
		config := *b.config
		change(&config)
		if client, err := ssh.Dial("tcp", b.addr, &config); err == nil {
			_ = client.Close()
			t.Errorf("%s: logged in, want a refusal", name)
		}
	}
	refused("another key", func(c *ssh.ClientConfig) { c.Auth = []ssh.AuthMethod{ssh.PublicKeys(newSigner(t))} })
	refused("another user", func(c *ssh.ClientConfig) { c.User = "admin" })
	refused("a password", func(c *ssh.ClientConfig) { c.Auth = []ssh.AuthMethod{ssh.Password("")} })
}

func TestGlobalRequestsAreNeverAnswered(t *testing.T) {
	for _, answered := range []bool{false, true} {
		client := start(t, sshd.Options{AnswerGlobalRequests: answered}).dial(t)
		reply := make(chan error, 1)
		go func() {
			_, _, err := client.SendRequest("keepalive@openssh.com", true, nil)
			reply <- err
		}()
		if answered {
			if err := <-reply; err != nil {
				t.Errorf("with answers on: %v", err)
			}
			continue
		}
		// Only an answer can end the wait early, so it never fails by chance.
		select {
		case err := <-reply:
			t.Fatalf("the request was answered (%v)", err)
		case <-time.After(100 * time.Millisecond):
		}
		if _, _, err := exec(client, "any"); err != nil {
			t.Errorf("exec beside an unanswered request: %v", err)
		}
		_ = client.Close()
		if err := <-reply; err == nil {
			t.Error("the request succeeded, want it cut")
		}
	}
}

func TestConnectionsAreCapped(t *testing.T) {
	for _, limit := range []sshd.Limit{sshd.LimitEarly, sshd.LimitLate} {
		b := start(t, sshd.Options{MaxSessions: 1, SessionLimit: limit})
		first := b.dial(t)
		second, err := ssh.Dial("tcp", b.addr, b.config)
		if limit == sshd.LimitEarly && err == nil {
			t.Error("a second connection was let in, want it closed before the banner")
		}
		if err == nil {
			if _, _, err := exec(second, "any"); err == nil {
				t.Error("a second connection works, want it closed after the login")
			}
			_ = second.Close()
		}
		if _, _, err := exec(first, "any"); err != nil {
			t.Errorf("the first connection: %v", err)
		}
	}
}

func TestChannelsAreCapped(t *testing.T) {
	for _, limit := range []sshd.Limit{sshd.LimitEarly, sshd.LimitLate} {
		b := start(t, sshd.Options{MaxChannels: 2, ChannelLimit: limit})
		client := b.dial(t)
		var running sync.WaitGroup
		for range 2 {
			running.Go(func() { _, _, _ = exec(client, "block") })
			<-b.entered
		}
		opened := make(chan error, 1)
		go func() {
			_, err := client.NewSession()
			opened <- err
		}()
		var refused *ssh.OpenChannelError
		if limit == sshd.LimitLate {
			if err := <-opened; !errors.As(err, &refused) {
				t.Errorf("third channel: got %v, want it rejected", err)
			}
		} else {
			_ = client.Close()
			if err := <-opened; err == nil || errors.As(err, &refused) {
				t.Errorf("third channel: got %v, want no answer before the connection ended", err)
			}
		}
		close(b.release)
		running.Wait()
	}
}

func TestAnExecOutlivesItsConnectionUnlessToldOtherwise(t *testing.T) {
	for _, stops := range []bool{false, true} {
		b := start(t, sshd.Options{StopOnDisconnect: stops})
		client := b.dial(t)
		go func() { _, _, _ = exec(client, "block") }()
		<-b.entered
		_ = client.Close()
		if !stops {
			close(b.release)
		}
		if err := <-b.ended; (err != nil) != stops {
			t.Errorf("StopOnDisconnect=%t: the exec's context ended with %v", stops, err)
		}
	}
}

func TestShutdownEndsEverything(t *testing.T) {
	b := start(t, sshd.Options{})
	client := b.dial(t)
	go func() { _, _, _ = exec(client, "block") }()
	<-b.entered
	b.stop()
	if err := client.Wait(); err == nil {
		t.Error("the connection ended without an error, want it cut")
	}
}

func TestTerminalsAreGrantedAndEnvironmentRefused(t *testing.T) {
	client := start(t, sshd.Options{}).dial(t)
	session, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = session.Close() }()
	if err := session.RequestPty("dumb", 80, 24, nil); err != nil {
		t.Errorf("terminal: %v", err)
	}
	if err := session.Setenv("A", "b"); err == nil {
		t.Error("environment was accepted, want it refused")
	}
	out, err := session.Output("any")
	if err != nil || string(out) != "csi:any\r\n" {
		t.Errorf("got %q, %v", out, err)
	}
	if _, _, err := client.OpenChannel("direct-tcpip", nil); err == nil {
		t.Error("a forwarding channel was opened, want it refused")
	}
}

func TestASlowHandshakeDoesNotKeepOthersOut(t *testing.T) {
	b := start(t, sshd.Options{})
	silent, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", b.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	if _, _, err := exec(b.dial(t), "any"); err != nil {
		t.Errorf("exec beside a silent peer: %v", err)
	}
}

func TestTheServerDoesNotSayWhatItIsNot(t *testing.T) {
	b := start(t, sshd.Options{})
	conn, err := (&net.Dialer{Timeout: time.Minute}).DialContext(t.Context(), "tcp", b.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	banner := make([]byte, len("SSH-2.0-ROSSSH"))
	if _, err := io.ReadFull(conn, banner); err != nil || string(banner) != "SSH-2.0-ROSSSH" {
		t.Errorf("got banner %q, %v, want RouterOS' own", banner, err)
	}
}

func TestTheHostKeyIsMadeOnce(t *testing.T) {
	for kind, algorithm := range map[sshd.KeyType]string{sshd.Ed25519: ssh.KeyAlgoED25519, sshd.RSA: ssh.KeyAlgoRSA} {
		file := filepath.Join(t.TempDir(), "key")
		first, err := sshd.LoadHostKey(file, kind)
		if err != nil {
			t.Fatal(err)
		}
		second, err := sshd.LoadHostKey(file, kind)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(first.PublicKey().Marshal(), second.PublicKey().Marshal()) || first.PublicKey().Type() != algorithm {
			t.Errorf("%s: got %s and then another key, want the same %s twice", kind, first.PublicKey().Type(), algorithm)
		}
		b := start(t, sshd.Options{HostKey: second})
		if _, _, err := exec(b.dial(t), "any"); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
	_, err := sshd.LoadHostKey(filepath.Join(t.TempDir(), "key"), "dsa")
	if err == nil || !strings.Contains(err.Error(), "dsa") {
		t.Errorf("got error %v, want one naming the type", err)
	}
}
