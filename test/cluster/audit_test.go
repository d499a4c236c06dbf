package cluster

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The API server notes a request when it has answered it, and may answer a later one before. The clock of a request that
// was carried out first may also show more than that of another.
func TestDeletionIsTheAcceptedOneThatWasCarriedOutFirst(t *testing.T) {
	c := &Cluster{folder: prepared(t)}
	const log = `{"verb":"delete","user":{"username":"refused"},"objectRef":{"resource":"pods","name":"x"},"responseStatus":{"code":409},"requestReceivedTimestamp":"2026-01-01T00:00:00.5Z"}
{"verb":"delete","user":{"username":"other"},"objectRef":{"resource":"volumeattachments","name":"x"},"responseStatus":{"code":200},"responseObject":{"metadata":{"resourceVersion":"5"}},"requestReceivedTimestamp":"2026-01-01T00:00:01Z"}
{"verb":"delete","user":{"username":"second"},"objectRef":{"resource":"pods","name":"x"},"responseStatus":{"code":200},"responseObject":{"metadata":{"resourceVersion":"100"}},"requestReceivedTimestamp":"2026-01-01T00:00:01.5Z"}
{"verb":"delete","user":{"username":"first"},"userAgent":"agent","objectRef":{"resource":"pods","name":"x"},"responseStatus":{"code":200},"responseObject":{"metadata":{"resourceVersion":"99"}},"requestReceivedTimestamp":"2026-01-01T00:00:02Z"}
{"verb":"delete","user":{"username":"late"},"objectRef":{"resource":"pods","name":"x"},"responseStatus":{"code":200},"responseObject":{"metadata":{"name":"x"}},"requestReceivedTimestamp":"2026-01-01T00:00:01Z"}
{"verb":"delete","user":{"username":"third"},"objectRef":{"resource":"pods","name":"x"},"responseStatus":{"code":200},"responseObject":{"metadata":{"resourceVersion":"101"}},"requestReceivedTimestamp":"2026-01-01T00:00:03Z"}
{"verb":"delete","user":{"username":"nobody"},"objectRef":{"resource":"pods","name":"z"},"responseStatus":{"code":200},"responseObject":{"kind":"Pod","metadata":{"name":"z"}}}
{"user":{"usern`
	if err := os.WriteFile(c.auditLog(), []byte(log), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := c.Deletion("pods", "x")
	if err != nil {
		t.Fatal(err)
	}
	want := Deletion{User: "first", Agent: "agent", At: time.Date(2026, 1, 1, 0, 0, 2, 0, time.UTC), Revision: 99}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("deletion (-want +got):\n%s", diff)
	}
	for what, name := range map[string]string{"what nobody deleted": "y", "what only a request deleted that found it gone": "z"} {
		if _, err := c.Deletion("pods", name); !errors.Is(err, ErrNoDeletion) {
			t.Errorf("%s: got %v, want %v", what, err, ErrNoDeletion)
		}
	}
}
