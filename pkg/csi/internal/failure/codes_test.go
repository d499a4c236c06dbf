package failure

import (
	"errors"
	"testing"
)

// Codes are what the sidecars' retries depend on. The outer meaning of a wrapped error decides.
func TestCodes(t *testing.T) {
	for _, row := range codeTable() {
		if got := Code(errors.Join(errors.New("while doing something"), row.is)); got != row.code {
			t.Errorf("%v: got %s, want %s", row.is, got, row.code)
		}
	}
}
