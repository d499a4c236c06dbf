package rds

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// DefaultBootWindow is how long after its start an appliance may still answer with empty lists.
const DefaultBootWindow = 2 * time.Minute

// Config says which appliance to talk to, as whom, and for which cluster.
type Config struct {
	// Address is the appliance's SSH address, host:port.
	Address string
	// User is the RouterOS user; its group needs the policies ssh, read, write and test.
	User string
	// PrivateKeyFile holds the user's unencrypted private key, ed25519 or RSA.
	PrivateKeyFile string
	// KnownHostsFile pins the appliance's host key, in OpenSSH's format.
	KnownHostsFile string
	// ClusterID is written into every record; disks of other clusters are never touched.
	ClusterID string
	// Port is the NVMe/TCP port on which disks are exported, 1 to 65535.
	Port uint16
	// BootWindow is how long after its start the appliance's silence about a disk proves nothing.
	BootWindow time.Duration
}

// clientConfig reads the key files and checks every field. Errors are *FieldError.
func (c Config) clientConfig() (*ssh.ClientConfig, error) {
	if _, port, err := net.SplitHostPort(c.Address); err != nil || port == "" {
		return nil, &FieldError{Field: "appliance address", Value: c.Address, Want: "host:port"}
	}
	if c.User == "" {
		return nil, &FieldError{Field: "appliance user", Value: c.User, Want: "the name of a RouterOS user"}
	}
	if c.ClusterID == "" || !validRecordValue(c.ClusterID) || len(c.ClusterID) > 64 {
		return nil, &FieldError{Field: "cluster ID", Value: c.ClusterID, Want: "1 to 64 letters, digits, dots, dashes and underscores"}
	}
	if c.Port == 0 {
		return nil, &FieldError{Field: "NVMe/TCP port", Value: strconv.Itoa(int(c.Port)), Want: "1 to 65535"}
	}
	signer, err := readKey(c.PrivateKeyFile)
	if err != nil {
		return nil, &FieldError{Field: "private key file", Value: c.PrivateKeyFile, Want: "a readable unencrypted private key in PEM or OpenSSH format: " + err.Error()}
	}
	hostKey, err := knownhosts.New(c.KnownHostsFile)
	if err != nil {
		return nil, &FieldError{Field: "known hosts file", Value: c.KnownHostsFile, Want: "a readable file in OpenSSH's known_hosts format: " + err.Error()}
	}
	algorithms, err := pinnedAlgorithms(hostKey, c.Address)
	if err != nil {
		return nil, &FieldError{Field: "known hosts file", Value: c.KnownHostsFile, Want: err.Error()}
	}
	return &ssh.ClientConfig{
		User:              c.User,
		Auth:              []ssh.AuthMethod{ssh.PublicKeys(signer)},
		HostKeyCallback:   explainHostKey(hostKey, c.KnownHostsFile),
		HostKeyAlgorithms: algorithms,
		Timeout:           dialTimeout,
	}, nil
}

func readKey(file string) (ssh.Signer, error) {
	pem, err := os.ReadFile(file) //nolint:gosec // the operator names the key file
	if err != nil {
		return nil, err
	}
	return ssh.ParsePrivateKey(pem)
}

// pinnedAlgorithms asks for the types of host key that are pinned: an appliance serves one type only, and offering
// others first would look like a changed key.
func pinnedAlgorithms(check ssh.HostKeyCallback, address string) ([]string, error) {
	var unknown *knownhosts.KeyError
	if err := check(address, &net.TCPAddr{}, noKey{}); !errors.As(err, &unknown) || len(unknown.Want) == 0 {
		return nil, fmt.Errorf("a line for %s, such as ssh-keyscan prints", knownhosts.Normalize(address))
	}
	var algorithms []string
	for _, known := range unknown.Want {
		if known.Key.Type() == ssh.KeyAlgoRSA {
			algorithms = append(algorithms, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256)
			continue
		}
		algorithms = append(algorithms, known.Key.Type())
	}
	return algorithms, nil
}

// noKey is a public key that equals no other.
type noKey struct{}

// Type names no type of key.
func (noKey) Type() string { return "none" }

// Marshal gives nothing.
func (noKey) Marshal() []byte { return nil }

// Verify believes no signature.
func (noKey) Verify([]byte, *ssh.Signature) error { return errors.New("no key") }

// explainHostKey adds the offered fingerprint and the next step to a refusal.
func explainHostKey(check ssh.HostKeyCallback, file string) ssh.HostKeyCallback {
	return func(hostname string, remote net.Addr, key ssh.PublicKey) error {
		if err := check(hostname, remote, key); err != nil {
			return fmt.Errorf("host key %s %s is not the one pinned in %s (check on the appliance whether it was changed on purpose): %w",
				key.Type(), ssh.FingerprintSHA256(key), file, err)
		}
		return nil
	}
}
