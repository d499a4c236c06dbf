package sshd_test

import (
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/sshd"
)

// banner reads what a server says first, until the deadline.
func (b *bench) banner(t *testing.T, deadline time.Duration) (string, error) {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", b.addr)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetReadDeadline(time.Now().Add(deadline)); err != nil {
		t.Fatal(err)
	}
	said, err := io.ReadAll(io.LimitReader(conn, 7))
	return string(said), err
}

func TestTheBannerUnderTrouble(t *testing.T) {
	tests := map[sshd.ConnectionTrouble]struct {
		said     string
		deadline time.Duration
		fails    bool
	}{
		sshd.NoConnectionTrouble: {said: "SSH-2.0", deadline: time.Minute},
		sshd.CloseLate:           {said: "SSH-2.0", deadline: time.Minute},
		sshd.CloseEarly:          {deadline: time.Minute},
		sshd.ResetConnection:     {deadline: time.Minute, fails: true},
		sshd.MuteConnection:      {deadline: 20 * time.Millisecond, fails: true},
	}
	for trouble, want := range tests {
		b := start(t, sshd.Options{Connection: func() sshd.ConnectionTrouble { return trouble }})
		if said, err := b.banner(t, want.deadline); said != want.said || (err != nil) != want.fails {
			t.Errorf("trouble %d: got %q, %v, want %q", trouble, said, err, want.said)
		}
	}
}

func TestTheLateSessionLimitLetsOneAuthenticate(t *testing.T) {
	b := start(t, sshd.Options{Connection: func() sshd.ConnectionTrouble { return sshd.CloseLate }})
	client := b.dial(t)
	if _, err := client.NewSession(); err == nil {
		t.Error("a channel opened, want the connection closed")
	}
}

func TestAnotherHostKeyIsOfTheSameType(t *testing.T) {
	for kind, want := range map[sshd.KeyType]string{sshd.Ed25519: ssh.KeyAlgoED25519, sshd.RSA: ssh.KeyAlgoRSA} {
		key, err := sshd.LoadHostKey(filepath.Join(t.TempDir(), "key"), kind)
		if err != nil {
			t.Fatal(err)
		}
		b := start(t, sshd.Options{HostKey: key, Connection: func() sshd.ConnectionTrouble { return sshd.OtherHostKey }})
		var shown ssh.PublicKey
		b.config.HostKeyCallback = func(_ string, _ net.Addr, key ssh.PublicKey) error {
			shown = key
			return nil
		}
		b.dial(t)
		if shown.Type() != want || string(shown.Marshal()) == string(key.PublicKey().Marshal()) {
			t.Errorf("%s: got another key of type %s, want %s", kind, shown.Type(), want)
		}
	}
}

func TestKeysAreRefused(t *testing.T) {
	b := start(t, sshd.Options{Connection: func() sshd.ConnectionTrouble { return sshd.RefuseKeys }})
	client, err := ssh.Dial("tcp", b.addr, b.config)
	if err == nil {
		_ = client.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "unable to authenticate") {
		t.Errorf("got %v, want authentication refused", err)
	}
}

func TestChannelsAreIgnoredOrRejected(t *testing.T) {
	next := make(chan sshd.ChannelTrouble, 1)
	b := start(t, sshd.Options{Channel: func() sshd.ChannelTrouble { return <-next }})
	client := b.dial(t)
	open := func() <-chan error {
		opened := make(chan error, 1)
		go func() {
			_, err := client.NewSession()
			opened <- err
		}()
		return opened
	}
	next <- sshd.RejectChannel
	if err := <-open(); err == nil {
		t.Error("the channel opened, want it rejected")
	}
	next <- sshd.IgnoreChannel
	ignored := open()
	next <- sshd.NoChannelTrouble // taken once the one before was ignored
	if err := <-open(); err != nil {
		t.Errorf("the channel after: %v", err)
	}
	select {
	case err := <-ignored:
		t.Errorf("the ignored channel ended with %v", err)
	default:
	}
	_ = client.Close()
	if err := <-ignored; err == nil {
		t.Error("the ignored channel opened")
	}
}

func TestAHandshakeIsHeldUp(t *testing.T) {
	asked := make(chan struct{}, 1)
	b := start(t, sshd.Options{Handshake: func() time.Duration {
		asked <- struct{}{}
		return time.Millisecond
	}})
	b.dial(t)
	<-asked
}

func TestAHandshakeThatIsHeldUpDoesNotHoldUpTheEnd(t *testing.T) {
	held := make(chan struct{})
	b := start(t, sshd.Options{Handshake: func() time.Duration {
		close(held)
		return time.Hour
	}})
	ended := make(chan error)
	go func() {
		_, err := ssh.Dial("tcp", b.addr, b.config)
		ended <- err
	}()
	<-held
	b.stop()
	if err := <-ended; err == nil {
		t.Error("logged in")
	}
}
