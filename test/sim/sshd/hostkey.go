package sshd

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/crypto/ssh"
)

// KeyType is one of the two host key types RouterOS can have.
type KeyType string

// Host key types.
const (
	Ed25519 KeyType = "ed25519"
	RSA     KeyType = "rsa"
)

// LoadHostKey reads the private key in file, or makes one of the given type
// and writes it there.
func LoadHostKey(file string, kind KeyType) (ssh.Signer, error) {
	data, err := os.ReadFile(file) //nolint:gosec // the caller's own state directory
	if errors.Is(err, fs.ErrNotExist) {
		data, err = newHostKey(file, kind)
	}
	if err != nil {
		return nil, fmt.Errorf("load host key: %w", err)
	}
	signer, err := ssh.ParsePrivateKey(data)
	if err != nil {
		return nil, fmt.Errorf("parse host key %s: %w", file, err)
	}
	return signer, nil
}

func newHostKey(file string, kind KeyType) ([]byte, error) {
	key, err := generate(kind)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	data := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	return data, os.WriteFile(file, data, 0o600)
}

func generate(kind KeyType) (crypto.Signer, error) {
	switch kind {
	case Ed25519:
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	case RSA:
		return rsa.GenerateKey(rand.Reader, 2048)
	default:
		return nil, fmt.Errorf("host key type %q: want %s or %s", kind, Ed25519, RSA)
	}
}
