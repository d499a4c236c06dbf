package rds

import (
	"crypto/rand"
	"encoding/hex"
)

// tokenLength is the length of a token or epoch as text: 64 random bits, far more than one disk will ever see writes.
const tokenLength = 16

func randomToken() string {
	var random [tokenLength / 2]byte
	// crypto/rand.Read never fails: it ends the program if the system has no randomness.
	_, _ = rand.Read(random[:])
	return hex.EncodeToString(random[:])
}

func validToken(text string) bool { return len(text) == tokenLength && isLowerHex(text) }

func isLowerHex(text string) bool {
	for i := range len(text) {
		if (text[i] < '0' || text[i] > '9') && (text[i] < 'a' || text[i] > 'f') {
			return false
		}
	}
	return text != ""
}
