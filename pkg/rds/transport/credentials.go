package transport

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/crypto/ssh"
)

// credentials are what one attempt to log in needs. They are read from their files at every attempt: a key that was
// exchanged counts from the next connection on, and nothing has to watch the files.
type credentials struct {
	key  ssh.Signer
	pins *pins
}

// readCredentials reads the key files. Errors are *FieldError.
func readCredentials(config Config) (credentials, error) {
	key, err := readKey(config.PrivateKeyFile)
	if err != nil {
		return credentials{}, &FieldError{Field: "private key file", Value: config.PrivateKeyFile, Want: "a readable unencrypted ed25519 or RSA key in PEM or OpenSSH format: " + err.Error()}
	}
	pins, err := readPins(config)
	if err != nil {
		return credentials{}, err
	}
	return credentials{key: key, pins: pins}, nil
}

func readKey(file string) (ssh.Signer, error) {
	pem, err := os.ReadFile(file) //nolint:gosec // the operator names the key file
	if err != nil {
		return nil, err
	}
	key, err := ssh.ParsePrivateKey(pem)
	if missing := (*ssh.PassphraseMissingError)(nil); errors.As(err, &missing) {
		return nil, errors.New("it is protected by a passphrase, which nobody could type")
	}
	if err != nil {
		return nil, err
	}
	if kind := key.PublicKey().Type(); kind != ssh.KeyAlgoED25519 && kind != ssh.KeyAlgoRSA {
		return nil, fmt.Errorf("it is of type %s, which RouterOS doesn't take", kind)
	}
	return key, nil
}
