package cluster

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestDeletionIsTheFirstAcceptedOne(t *testing.T) {
	c := &Cluster{folder: prepared(t)}
	const log = `{"user":{"username":"refused"},"objectRef":{"resource":"pods","name":"x"},"responseStatus":{"code":409},"requestReceivedTimestamp":"2026-01-01T00:00:00.5Z"}
{"user":{"username":"other"},"objectRef":{"resource":"volumeattachments","name":"x"},"responseStatus":{"code":200},"requestReceivedTimestamp":"2026-01-01T00:00:01Z"}
{"user":{"username":"first"},"userAgent":"agent","objectRef":{"resource":"pods","name":"x"},"responseStatus":{"code":200},"requestReceivedTimestamp":"2026-01-01T00:00:02Z"}
{"user":{"username":"second"},"objectRef":{"resource":"pods","name":"x"},"responseStatus":{"code":200},"requestReceivedTimestamp":"2026-01-01T00:00:03Z"}
{"user":{"usern`
	if err := os.WriteFile(c.auditLog(), []byte(log), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := c.Deletion("pods", "x")
	if err != nil {
		t.Fatal(err)
	}
	want := Deletion{User: "first", Agent: "agent", At: time.Date(2026, 1, 1, 0, 0, 2, 0, time.UTC)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("deletion (-want +got):\n%s", diff)
	}
	if _, err := c.Deletion("pods", "y"); !errors.Is(err, ErrNoDeletion) {
		t.Errorf("got %v, want %v", err, ErrNoDeletion)
	}
}
