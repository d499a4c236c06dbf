package transport_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds/transport"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/sshd"
	"git.srvlab.io/whiskey/rds-csi-driver/test/simtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ask runs a command that needs nothing but a connection.
func ask(t *testing.T, client *transport.SSH) error {
	t.Helper()
	_, err := client.Exec(t.Context(), ":put 1")
	return err
}

// start runs a simulator and returns it with the configuration of a transport to it.
func start(t *testing.T, changes ...func(*sim.Options)) (*sim.Sim, transport.Config) {
	t.Helper()
	simulator, config := simtest.Start(t, changes...)
	return simulator, config.SSH
}

func overwrite(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func contents(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// keyText returns a private key as OpenSSH stores it, protected unless the passphrase is empty.
func keyText(t *testing.T, key any, passphrase string) string {
	t.Helper()
	block, err := ssh.MarshalPrivateKey(key, "")
	if passphrase != "" {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(key, "", []byte(passphrase))
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(block))
}

func newRSA(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// A host key is exchanged under a running transport: the new one is refused until it is pinned beside the old one, then
// both are accepted.
func TestAHostKeyIsExchanged(t *testing.T) {
	pin := map[string]func(*testing.T, *transport.Config, ssh.PublicKey){
		"known_hosts": func(t *testing.T, c *transport.Config, key ssh.PublicKey) {
			t.Helper()
			overwrite(t, c.KnownHostsFile, contents(t, c.KnownHostsFile)+knownhosts.Line([]string{c.Address}, key)+"\n")
		},
		"fingerprint": func(_ *testing.T, c *transport.Config, key ssh.PublicKey) {
			c.HostKeyFingerprints = append(c.HostKeyFingerprints, ssh.FingerprintSHA256(key))
		},
	}
	for name, pin := range pin {
		t.Run(name, func(t *testing.T) {
			simulator, config := start(t)
			client := simtest.SSH(t, config)
			if err := ask(t, client); err != nil {
				t.Fatal(err)
			}
			simulator.Inject(sim.Fault{Kind: sim.HostKeyChanged}, sim.When{})
			changed, err := simulator.ChangedHostKey()
			if err != nil {
				t.Fatal(err)
			}
			err = ask(t, client)
			if !errors.Is(err, transport.ErrHostKey) || !errors.Is(err, transport.ErrUnreachable) {
				t.Errorf("another host key: got %v, want ErrHostKey and ErrUnreachable", err)
			}
			for _, part := range []string{ssh.FingerprintSHA256(changed), ssh.FingerprintSHA256(simulator.HostKey()), config.KnownHostsFile, "pin the new one"} {
				if err == nil || !strings.Contains(err.Error(), part) {
					t.Errorf("got %v, want it to say %q", err, part)
				}
			}
			pin(t, &config, changed)
			if name == "fingerprint" {
				client = simtest.SSH(t, config)
			}
			if err := ask(t, client); err != nil {
				t.Errorf("the new key, pinned: %v", err)
			}
			simulator.ClearFaults()
			simulator.DropConnections()
			if err := ask(t, client); err != nil {
				t.Errorf("the old key, still pinned: %v", err)
			}
		})
	}
}

func TestTypesOfHostKeys(t *testing.T) {
	for _, kind := range []sshd.KeyType{sshd.Ed25519, sshd.RSA} {
		t.Run(string(kind), func(t *testing.T) {
			simulator, config := start(t, func(o *sim.Options) { o.HostKeyType = kind })
			right, wrong := ssh.FingerprintSHA256(simulator.HostKey()), "SHA256:"+strings.Repeat("A", 43)
			_, other := start(t)
			foreign := filepath.Join(t.TempDir(), "foreign")
			overwrite(t, foreign, contents(t, other.KnownHostsFile))
			revoked := filepath.Join(t.TempDir(), "revoked")
			overwrite(t, revoked, "@revoked * "+strings.SplitN(contents(t, config.KnownHostsFile), " ", 2)[1])
			otherType := filepath.Join(t.TempDir(), "other type")
			overwrite(t, otherType, knownhosts.Line([]string{config.Address}, publicOf(t, kind))+"\n")
			tests := map[string]struct {
				file         string
				fingerprints []string
				want         error
			}{
				"known_hosts":                              {config.KnownHostsFile, nil, nil},
				"fingerprint":                              {"", []string{right}, nil},
				"one of several fingerprints":              {"", []string{wrong, right}, nil},
				"wrong fingerprint":                        {"", []string{wrong}, transport.ErrHostKey},
				"the fingerprint in the other case":        {"", []string{otherCase(right)}, transport.ErrHostKey},
				"a fingerprint that begins alike":          {"", []string{right[:len(right)-20] + wrong[len(wrong)-20:]}, transport.ErrHostKey},
				"known_hosts beside a wrong fingerprint":   {config.KnownHostsFile, []string{wrong}, nil},
				"fingerprint beside another's known_hosts": {foreign, []string{right}, nil},
				"revoked, whatever the fingerprint":        {revoked, []string{right}, transport.ErrHostKey},
				"pinned with the other type":               {otherType, nil, transport.ErrHostKey},
			}
			for name, test := range tests {
				t.Run(name, func(t *testing.T) {
					changed := config
					changed.KnownHostsFile, changed.HostKeyFingerprints = test.file, test.fingerprints
					if err := ask(t, simtest.SSH(t, changed)); !errors.Is(err, test.want) {
						t.Errorf("got %v, want %v", err, test.want)
					}
				})
			}
		})
	}
}

// otherCase exchanges upper and lower case in a fingerprint, but for its last character, of which not all bits count.
func otherCase(fingerprint string) string {
	sum := []byte(strings.TrimPrefix(fingerprint, "SHA256:"))
	for i, c := range sum[:len(sum)-1] {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' {
			sum[i] = c ^ ' '
		}
	}
	return "SHA256:" + string(sum)
}

// publicOf returns some public key that is not of the kind.
func publicOf(t *testing.T, not sshd.KeyType) ssh.PublicKey {
	t.Helper()
	var public any = newRSA(t).Public()
	if not == sshd.RSA {
		var err error
		if public, _, err = ed25519.GenerateKey(rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// The user's key is exchanged under a running transport, which reads it again for every connection.
func TestAUserKeyIsExchanged(t *testing.T) {
	fresh := newRSA(t)
	public, err := ssh.NewPublicKey(fresh.Public())
	if err != nil {
		t.Fatal(err)
	}
	simulator, config := start(t, func(o *sim.Options) { o.Users[0].Keys = []ssh.PublicKey{public} })
	client := simtest.SSH(t, config)
	if err := ask(t, client); !errors.Is(err, transport.ErrPermission) || !errors.Is(err, transport.ErrUnreachable) || !strings.Contains(err.Error(), "SHA256:") || strings.Contains(err.Error(), "can't be reached") {
		t.Errorf("a key that the appliance doesn't know: got %v, want ErrPermission that names the key", err)
	}
	overwrite(t, config.PrivateKeyFile, keyText(t, fresh, ""))
	if err := ask(t, client); err != nil {
		t.Errorf("the RSA key that it knows: %v", err)
	}
	overwrite(t, config.PrivateKeyFile, "half a ke")
	if err := ask(t, client); err != nil {
		t.Errorf("a bad file, while the connection lasts: %v", err)
	}
	simulator.DropConnections()
	err = ask(t, client)
	if field := (*transport.FieldError)(nil); !errors.Is(err, transport.ErrUnreachable) || !errors.As(err, &field) || field.Value != config.PrivateKeyFile {
		t.Errorf("a bad file, for a new connection: got %v, want ErrUnreachable that names it", err)
	}
	overwrite(t, config.PrivateKeyFile, keyText(t, fresh, ""))
	if err := ask(t, client); err != nil {
		t.Errorf("once it's whole again: %v", err)
	}
}

// Whatever the appliance refuses a connection with, the transport says so and comes back by itself.
func TestRefusedConnections(t *testing.T) {
	for kind, want := range map[sim.FaultKind]error{
		sim.ConnectionReset:   transport.ErrUnreachable,
		sim.SessionLimitEarly: transport.ErrUnreachable,
		sim.SessionLimitLate:  transport.ErrUnreachable,
		sim.AuthRefused:       transport.ErrPermission,
		sim.ChannelRejected:   transport.ErrUnreachable,
	} {
		t.Run(string(kind), func(t *testing.T) {
			simulator, config := start(t)
			client := simtest.SSH(t, config)
			injected := simulator.Inject(sim.Fault{Kind: kind}, sim.When{})
			err := ask(t, client)
			if !errors.Is(err, want) || !errors.Is(err, transport.ErrUnreachable) {
				t.Errorf("got %v, want %v", err, want)
			}
			if errors.Is(err, transport.ErrPermission) != errors.Is(want, transport.ErrPermission) {
				t.Errorf("got %v, want ErrPermission only where it's about that", err)
			}
			if injected.Strikes() == 0 {
				t.Error("the fault didn't strike")
			}
			simulator.ClearFaults()
			if err := ask(t, client); err != nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

func TestNewSSHRefusesWhatCanNotWork(t *testing.T) {
	_, good := start(t)
	file := func(text string) string {
		name := filepath.Join(t.TempDir(), "file")
		overwrite(t, name, text)
		return name
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		change func(*transport.Config)
		field  string
	}{
		"nothing pinned": {func(c *transport.Config) { c.KnownHostsFile = "" }, "known hosts file"},
		"another host's line": {func(c *transport.Config) {
			c.KnownHostsFile = file("192.0.2.1 " + strings.SplitN(contents(t, good.KnownHostsFile), " ", 2)[1])
		}, "known hosts file"},
		"no known_hosts format": {func(c *transport.Config) { c.KnownHostsFile = file("hello world, hello") }, "known hosts file"},
		"MD5 fingerprint":       {func(c *transport.Config) { c.HostKeyFingerprints = []string{"MD5:" + strings.Repeat("00:", 15) + "00"} }, "host key fingerprint"},
		"short fingerprint":     {func(c *transport.Config) { c.HostKeyFingerprints = []string{"SHA256:AAAA"} }, "host key fingerprint"},
		"fingerprint with odd last bits": {func(c *transport.Config) {
			c.HostKeyFingerprints = []string{"SHA256:" + strings.Repeat("A", 42) + "B"}
		}, "host key fingerprint"},
		"fingerprint without its kind": {func(c *transport.Config) { c.HostKeyFingerprints = []string{strings.Repeat("A", 43)} }, "host key fingerprint"},
		"fingerprint with a space":     {func(c *transport.Config) { c.HostKeyFingerprints = []string{" SHA256:" + strings.Repeat("A", 43)} }, "host key fingerprint"},
		"ECDSA user key":               {func(c *transport.Config) { c.PrivateKeyFile = file(keyText(t, curve, "")) }, "private key file"},
		"protected user key":           {func(c *transport.Config) { c.PrivateKeyFile = file(keyText(t, newRSA(t), "secret")) }, "private key file"},
		"too many channels":            {func(c *transport.Config) { c.MaxChannels = 9 }, "commands in flight"},
		"negative channels":            {func(c *transport.Config) { c.MaxChannels = -1 }, "commands in flight"},
		"negative wait":                {func(c *transport.Config) { c.ReconnectMin = -time.Second }, "wait before connecting again"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			config := good
			test.change(&config)
			_, err := transport.NewSSH(config)
			if field := (*transport.FieldError)(nil); !errors.As(err, &field) || field.Field != test.field {
				t.Errorf("got %v, want a FieldError about the %s", err, test.field)
			}
			if err != nil && strings.Contains(err.Error(), "PRIVATE KEY") {
				t.Errorf("the error shows the key: %v", err)
			}
		})
	}
}
