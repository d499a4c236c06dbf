package simtest

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
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

// Start runs a simulator of 10 GiB until the test ends, up for a day already, and returns it with the configuration of
// a client for it. Each change is made to the simulator's options before it starts.
func Start(t testing.TB, changes ...func(*sim.Options)) (*sim.Sim, rds.Config) {
	t.Helper()
	key, file := newKey(t)
	options := sim.Options{
		StateDir: t.TempDir(),
		Pools:    []appliance.Pool{{Name: Pool, Size: 10 * appliance.GiB}},
		Users:    []sim.User{{Name: User, Keys: []ssh.PublicKey{key}}},
		Uptime:   24 * time.Hour,
	}
	for _, change := range changes {
		change(&options)
	}
	simulator, err := sim.Start(t.Context(), options)
	if err != nil {
		t.Fatalf("start the simulator: %v", err)
	}
	t.Cleanup(func() {
		if err := simulator.Close(); err != nil {
			t.Errorf("stop the simulator: %v", err)
		}
	})
	return simulator, rds.Config{
		Address:        simulator.SSHAddr(),
		User:           User,
		PrivateKeyFile: file,
		KnownHostsFile: simulator.KnownHosts(),
		ClusterID:      ClusterID,
		Port:           4420,
		BootWindow:     rds.DefaultBootWindow,
	}
}

// Client gives a client that is closed when the test ends.
func Client(t testing.TB, config rds.Config) *rds.Client {
	t.Helper()
	client, err := rds.New(config)
	if err != nil {
		t.Fatalf("make a client: %v", err)
	}
	t.Cleanup(client.Close)
	return client
}

// newKey writes a private key to a file that only the test sees.
func newKey(t testing.TB) (ssh.PublicKey, string) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "id_ed25519")
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return key, file
}
