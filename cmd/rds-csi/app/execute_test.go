package app

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
)

// Kubernetes shows the end of what a container printed, and people look for the reason in the last line.
func TestWhyAProcessEndsStandsInOneLine(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr := os.Stderr
	os.Stderr = write
	code := fail("rds-csi node", exitFailed, errors.Join(errors.New("this"), errors.New("that")))
	os.Stderr = stderr
	if err := write.Close(); err != nil {
		t.Fatal(err)
	}
	printed, err := io.ReadAll(read)
	if err != nil || code != exitFailed {
		t.Errorf("got %d, %v", code, err)
	}
	if bytes.Count(printed, []byte("\n")) != 1 || !strings.Contains(string(printed), "this; that") {
		t.Errorf("printed %q, want one line with both reasons", printed)
	}
}
