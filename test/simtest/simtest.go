package simtest

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds/transport"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
)

// Pool is the one pool of the simulated appliance, and User its one user.
const (
	Pool = "raid10"
	User = "csi"
)

// ClusterID is the cluster in the configuration that Start returns.
const ClusterID = "cluster-1"

// Config is the configuration of a client and of its connection.
type Config struct {
	rds.Config
	SSH transport.Config
}

// Start runs a simulator of 10 GiB until the test ends, up for a day already, and returns it with the configuration of
// a client for it. Each change is made to the simulator's options before it starts.
func Start(tb testing.TB, changes ...func(*sim.Options)) (*sim.Sim, Config) {
	tb.Helper()
	key, file := newKey(tb)
	options := sim.Options{
		StateDir: tb.TempDir(),
		Pools:    []appliance.Pool{{Name: Pool, Size: 10 * appliance.GiB}},
		Users:    []sim.User{{Name: User, Keys: []ssh.PublicKey{key}}},
		Uptime:   24 * time.Hour,
	}
	for _, change := range changes {
		change(&options)
	}
	simulator, err := sim.Start(tb.Context(), options)
	if err != nil {
		tb.Fatalf("start the simulator: %v", err)
	}
	tb.Cleanup(func() {
		if err := simulator.Close(); err != nil {
			tb.Errorf("stop the simulator: %v", err)
		}
	})
	return simulator, Config{
		Config: rds.Config{ClusterID: ClusterID, Port: 4420, BootWindow: rds.DefaultBootWindow},
		SSH: transport.Config{
			Address:        simulator.SSHAddr(),
			User:           User,
			PrivateKeyFile: file,
			KnownHostsFile: simulator.KnownHosts(),
			// Tests that retry shouldn't have to wait.
			ReconnectMin: time.Nanosecond, ReconnectMax: time.Nanosecond,
		},
	}
}

// SSH returns a transport that is closed when the test ends.
func SSH(tb testing.TB, config transport.Config) *transport.SSH {
	tb.Helper()
	ssh, err := transport.NewSSH(config)
	if err != nil {
		tb.Fatalf("make a transport: %v", err)
	}
	tb.Cleanup(ssh.Close)
	return ssh
}

// Client returns a client that is closed when the test ends.
func Client(tb testing.TB, config Config) *rds.Client {
	tb.Helper()
	return ClientOver(tb, config.Config, SSH(tb, config.SSH))
}

// ClientOver returns a client that reaches the appliance over another transport.
func ClientOver(tb testing.TB, config rds.Config, over rds.Transport) *rds.Client {
	tb.Helper()
	client, err := rds.New(config, over)
	if err != nil {
		tb.Fatalf("make a client: %v", err)
	}
	return client
}

// Console is a transport whose commands reach the simulator without SSH, and whose answers are changed. For everything else
// it needs a Transport.
type Console struct {
	rds.Transport

	Sim    *sim.Sim
	Change *strings.Replacer
}

// Exec runs the line and changes what it printed.
func (c Console) Exec(ctx context.Context, line string) (string, error) {
	output, err := c.Sim.Exec(ctx, line)
	return c.Change.Replace(output), err
}

// newKey writes a private key to a file that only the test sees.
func newKey(tb testing.TB) (ssh.PublicKey, string) {
	tb.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		tb.Fatal(err)
	}
	file := filepath.Join(tb.TempDir(), "id_ed25519")
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		tb.Fatal(err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		tb.Fatal(err)
	}
	return key, file
}
