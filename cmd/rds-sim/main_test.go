package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
)

// keyPair returns a signer and a file with its public key.
func keyPair(t *testing.T) (ssh.Signer, string) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "key.pub")
	if err := os.WriteFile(file, ssh.MarshalAuthorizedKey(signer.PublicKey()), 0o600); err != nil {
		t.Fatal(err)
	}
	return signer, file
}

// complete command line, before and after the flag under test.
func goodArgs(t *testing.T) map[string]string {
	t.Helper()
	_, file := keyPair(t)
	return map[string]string{
		"listen": "127.0.0.1:0", "http": "127.0.0.1:0", "state": t.TempDir(),
		"pool": "raid10=100GiB", "user": "csi", "authorized-key": file,
	}
}

func flatten(flags map[string]string) []string {
	var args []string
	for name, value := range flags {
		args = append(args, "--"+name, value)
	}
	return args
}

func TestACompleteCommandLineIsUnderstood(t *testing.T) {
	flags := goodArgs(t)
	flags["uptime"] = "24h"
	got, err := parse(flatten(flags))
	if err != nil {
		t.Fatal(err)
	}
	if want := []appliance.Pool{{Name: "raid10", Size: 100 << 30}}; !cmp.Equal(got.Pools, want) {
		t.Errorf("pools: got %v, want %v", got.Pools, want)
	}
	if got.Uptime != 24*time.Hour || got.Version != "7.24.4" || len(got.Users[0].Keys) != 1 {
		t.Errorf("got %+v, want uptime 24h, version 7.24.4 and one key", got)
	}
}

func TestABadFlagIsNamedWithWhatItWants(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ flag, value, want string }{
		{"listen", "", "127.0.0.1:2200"},
		{"listen", "0.0.0.0:2200", "loopback"},
		{"listen", "192.0.2.1:2200", "loopback"},
		{"http", "", "127.0.0.1:2280"},
		{"http", ":2280", "loopback"},
		{"state", "", "directory"},
		{"pool", "", "name=size"},
		{"pool", "raid10", "name=size"},
		{"pool", "raid10=100", "name=size"},
		{"pool", "../x=100GiB", "name=size"},
		{"nvmet", "127.0.0.1", "IP address and port"},
		{"nvmet", "localhost:4420", "IP address and port"},
		{"user", "", "user name"},
		{"authorized-key", "", "public key"},
		{"authorized-key", empty, "public key"},
		{"authorized-key", "/nonexistent", "no such file"},
		{"uptime", "soon", "parse error"},
	}
	for _, test := range tests {
		t.Run(test.flag+"="+test.value, func(t *testing.T) {
			flags := goodArgs(t)
			flags[test.flag] = test.value
			if test.value == "" {
				delete(flags, test.flag)
			}
			_, err := parse(flatten(flags))
			if !errors.Is(err, errUsage) || !strings.Contains(err.Error(), "-"+test.flag) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want one naming --%s and %q", err, test.flag, test.want)
			}
		})
	}
}

func TestBadUseExitsWithTwo(t *testing.T) {
	flags := goodArgs(t)
	flags["version"] = "new"
	for name, args := range map[string][]string{
		"nothing given": nil, "unknown flag": {"--nonsense"}, "bad version": flatten(flags),
	} {
		if got := start(args); got != exitUsage {
			t.Errorf("%s: exit status %d, want %d", name, got, exitUsage)
		}
	}
}

func TestItServesUntilItsContextEnds(t *testing.T) {
	signer, file := keyPair(t)
	flags := goodArgs(t)
	flags["authorized-key"] = file
	options, err := parse(flatten(flags))
	if err != nil {
		t.Fatal(err)
	}
	s, err := sim.Start(t.Context(), options.Options)
	if err != nil {
		t.Fatal(err)
	}
	check, err := knownhosts.New(filepath.Join(options.StateDir, "known_hosts"))
	if err != nil {
		t.Fatal(err)
	}
	client, err := ssh.Dial("tcp", s.SSHAddr(), &ssh.ClientConfig{
		User: "csi", Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)},
		HostKeyCallback: check, HostKeyAlgorithms: []string{ssh.KeyAlgoED25519},
	})
	if err != nil {
		t.Fatalf("log in with the known_hosts file it wrote: %v", err)
	}
	_ = client.Close()
	if err := s.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", s.SSHAddr()); err == nil {
		_ = c.Close()
		t.Error("the SSH port still accepts connections after Close")
	}
}

func TestACommandWithAPasswordIsNotLogged(t *testing.T) {
	if got := loggable(`/disk set x nvme-tcp-server-password="s3cret"`); strings.Contains(got, "s3cret") {
		t.Errorf("got %q, want the secret hidden", got)
	}
}

func TestTroubleIsConfiguredByFlags(t *testing.T) {
	flags := goodArgs(t)
	got, err := parse(flatten(flags))
	if err != nil {
		t.Fatal(err)
	}
	if got.BootTimes.Down <= 0 || got.BootTimes.Starting <= 0 || got.FlashDelay != 0 || got.Timing.Scale != 0 {
		t.Errorf("by default: got %+v, want reboots that end by themselves, nothing lost and no time taken", got)
	}
	flags["flash-delay"], flags["boot-down"], flags["boot-starting"], flags["timing"] = "40s", "1s", "2s", "0.5"
	if got, err = parse(flatten(flags)); err != nil {
		t.Fatal(err)
	}
	want := sim.BootTimes{Down: time.Second, Starting: 2 * time.Second}
	if got.BootTimes != want || got.FlashDelay != 40*time.Second || got.Timing.Scale != 0.5 {
		t.Errorf("got %+v, want what the flags say", got)
	}
	for _, bad := range []string{"NaN", "-1", "fast", "1e9"} {
		flags["timing"] = bad
		if _, err := parse(flatten(flags)); !errors.Is(err, errUsage) || !strings.Contains(err.Error(), "from 0 to 100") {
			t.Errorf("--timing %s: got %v, want what it takes", bad, err)
		}
	}
}
