package sshd_test

import (
	"context"
	"io"
	"testing"

	"golang.org/x/crypto/ssh"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/sshd"
)

func TestAPasswordIsForUsersWithoutAKey(t *testing.T) {
	b := start(t, sshd.Options{Passwords: map[string]string{"keyless": "right", "csi": "right"}})
	for _, test := range []struct {
		user, password string
		want           bool
	}{{"keyless", "right", true}, {"keyless", "wrong", false}, {"csi", "right", false}, {"nobody", "right", false}, {"nobody", "", false}} {
		config := *b.config
		config.User, config.Auth = test.user, []ssh.AuthMethod{ssh.Password(test.password)}
		client, err := ssh.Dial("tcp", b.addr, &config)
		if (err == nil) != test.want {
			t.Errorf("%s with %q: got %v, want success %t", test.user, test.password, err, test.want)
		}
		if err == nil {
			_ = client.Close()
		}
	}
}

func TestOutputBeyondTheWindowIsDropped(t *testing.T) {
	client := start(t, sshd.Options{Window: 7}).dial(t)
	if stdout, _, err := exec(client, "long"); err != nil || stdout != "csi:lon" {
		t.Errorf("got %q, %v, want the first 7 bytes and exit status 0", stdout, err)
	}
}

func TestASubsystemHasTheChannelToItself(t *testing.T) {
	b := start(t, sshd.Options{Subsystem: func(user, name string) sshd.Subsystem {
		if name != "echo" {
			return nil
		}
		return func(_ context.Context, channel io.ReadWriteCloser) {
			_, _ = io.WriteString(channel, user+":")
			_, _ = io.Copy(channel, channel)
		}
	}})
	client := b.dial(t)
	session, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if err := session.RequestSubsystem("other"); err == nil {
		t.Error("an unknown subsystem was opened")
	}
	in, err := session.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := session.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := session.RequestSubsystem("echo"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(in, "hello"); err != nil {
		t.Fatal(err)
	}
	_ = in.Close()
	if got, err := io.ReadAll(out); err != nil || string(got) != "csi:hello" {
		t.Errorf("got %q, %v, want csi:hello", got, err)
	}
	if stdout, _, err := exec(client, "any"); err != nil || stdout != "csi:any\r\n" {
		t.Errorf("an exec beside it: got %q, %v", stdout, err)
	}
}
