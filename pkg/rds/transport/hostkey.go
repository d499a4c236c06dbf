package transport

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// fingerprintPrefix is how OpenSSH and RouterOS begin a fingerprint.
const fingerprintPrefix = "SHA256:"

// pins are the host keys that the appliance may show. One that matches is enough: a new key can be pinned beside the old
// one before the appliance gets it.
type pins struct {
	address      string
	fingerprints []string
	file         string
	// known is nil without a known_hosts file.
	known ssh.HostKeyCallback
	// lines are the keys that the known_hosts file has for the address.
	lines []knownhosts.KnownKey
}

// readPins reads the known_hosts file, if there is one, anew. Errors are *FieldError.
func readPins(config Config) (*pins, error) {
	p := &pins{address: config.Address, fingerprints: config.HostKeyFingerprints, file: config.KnownHostsFile}
	for _, fingerprint := range p.fingerprints {
		if !validFingerprint(fingerprint) {
			return nil, &FieldError{Field: "host key fingerprint", Value: fingerprint, Want: `"SHA256:" and 43 characters of base64, as "ssh-keygen -lf" prints it`}
		}
	}
	if p.file == "" {
		if len(p.fingerprints) == 0 {
			return nil, &FieldError{Field: "known hosts file", Value: "", Want: "a known_hosts file or at least one host key fingerprint: without either, anybody could pass for the appliance"}
		}
		return p, nil
	}
	if _, err := os.Stat(p.file); err != nil {
		return nil, &FieldError{Field: "known hosts file", Value: p.file, Want: "a readable file in OpenSSH's known_hosts format: " + err.Error()}
	}
	known, err := knownhosts.New(p.file)
	if err != nil {
		return nil, &FieldError{Field: "known hosts file", Value: p.file, Want: "a readable file in OpenSSH's known_hosts format: " + err.Error()}
	}
	p.known, p.lines = known, pinnedLines(known, p.address)
	if len(p.lines) == 0 && len(p.fingerprints) == 0 {
		return nil, &FieldError{Field: "known hosts file", Value: p.file, Want: fmt.Sprintf("a line for %s, such as ssh-keyscan prints", knownhosts.Normalize(p.address))}
	}
	return p, nil
}

func validFingerprint(text string) bool {
	sum, found := strings.CutPrefix(text, fingerprintPrefix)
	decoded, err := base64.RawStdEncoding.Strict().DecodeString(sum)
	return found && err == nil && len(decoded) == 32
}

// pinnedLines returns the keys that a known_hosts file has for an address. The library lists them in its error about a key
// that isn't among them.
func pinnedLines(check ssh.HostKeyCallback, address string) []knownhosts.KnownKey {
	var unknown *knownhosts.KeyError
	if err := check(address, &net.TCPAddr{}, noKey{}); errors.As(err, &unknown) {
		return unknown.Want
	}
	return nil
}

// algorithms returns every host key algorithm that RouterOS has and the driver accepts, those of pinned keys first. A
// server with keys of several types then shows the one that is pinned. A server whose only key isn't pinned shows that one,
// so that the refusal can name it.
func (p *pins) algorithms() []string {
	all := []string{ssh.KeyAlgoED25519, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	if slices.ContainsFunc(p.lines, func(line knownhosts.KnownKey) bool { return line.Key.Type() == ssh.KeyAlgoRSA }) &&
		!slices.ContainsFunc(p.lines, func(line knownhosts.KnownKey) bool { return line.Key.Type() == ssh.KeyAlgoED25519 }) {
		return append(all[1:], ssh.KeyAlgoED25519)
	}
	return all
}

// check is the ssh.HostKeyCallback. Its errors are ErrHostKey, and name what was offered, what is pinned and what to do.
func (p *pins) check(_ string, _ net.Addr, key ssh.PublicKey) error {
	offered := ssh.FingerprintSHA256(key)
	if p.known != nil {
		// The address's own lines count, whatever name or IP address it resolves to.
		err := p.known(p.address, &net.TCPAddr{}, key)
		if err == nil {
			return nil
		}
		if revoked, found := errors.AsType[*knownhosts.RevokedError](err); found {
			return fmt.Errorf("%w: the appliance offers %s %s, which %s line %d revokes", ErrHostKey, key.Type(), offered, revoked.Revoked.Filename, revoked.Revoked.Line)
		}
	}
	if slices.Contains(p.fingerprints, offered) {
		return nil
	}
	return fmt.Errorf("%w: the appliance offers %s %s, pinned is %s; if its key was changed on purpose (compare the fingerprint on the appliance itself), pin the new one beside the old one",
		ErrHostKey, key.Type(), offered, p)
}

// String lists what is pinned, and where.
func (p *pins) String() string {
	pinned := slices.Clone(p.fingerprints)
	for _, line := range p.lines {
		pinned = append(pinned, fmt.Sprintf("%s %s (%s line %d)", line.Key.Type(), ssh.FingerprintSHA256(line.Key), line.Filename, line.Line))
	}
	return strings.Join(pinned, ", ")
}

// noKey is a public key that equals no other.
type noKey struct{}

// Type names no type of key.
func (noKey) Type() string { return "none" }

// Marshal returns nothing.
func (noKey) Marshal() []byte { return nil }

// Verify believes no signature.
func (noKey) Verify([]byte, *ssh.Signature) error { return errors.New("no key") }
