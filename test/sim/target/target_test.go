package target_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/export"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/target"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type noDisks struct{}

func (noDisks) Disks() []appliance.DiskInfo {
	return []appliance.DiskInfo{{Slot: "x", SubsystemNQN: "nqn:x", Exported: true, Comment: "c", File: "/f"}}
}

// bench is a target with the subsystem nqn:x, and a client to it.
type bench struct {
	exports *export.Registry
	url     string
	client  *http.Client
}

func start(t *testing.T) *bench {
	t.Helper()
	exports := export.New(export.Options{RevokeWait: time.Minute})
	exports.Publish(export.Subsystem{Slot: "x", NQN: "nqn:x", File: "/f", Size: 5})
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- target.New(exports, noDisks{}, teapot()).Run(ctx, l) }()
	b := &bench{exports: exports, url: "http://" + l.Addr().String(), client: &http.Client{Transport: &http.Transport{}}}
	t.Cleanup(func() {
		b.client.CloseIdleConnections()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return b
}

// do makes a request and returns the whole answer.
func (b *bench) do(t *testing.T, method, path, body string) (status int, answer string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, b.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	response, err := b.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(data)
}

func (b *bench) get(t *testing.T, path string) any {
	t.Helper()
	_, answer := b.do(t, http.MethodGet, path, "")
	var got any
	if err := json.Unmarshal([]byte(answer), &got); err != nil {
		t.Fatalf("GET %s: %q: %v", path, answer, err)
	}
	return got
}

// stream is what an initiator reads after it was let in.
type stream struct {
	*bufio.Reader
	io.Closer
	connected map[string]any
}

const connectBody = `{"subsystemNQN":"nqn:x","hostNQN":"host"}`

// connect opens a stream and reads its first event.
func (b *bench) connect(t *testing.T) *stream {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.url+"/v1/connect", strings.NewReader(connectBody))
	if err != nil {
		t.Fatal(err)
	}
	response, err := b.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = response.Body.Close() })
	if response.StatusCode != http.StatusOK {
		t.Fatalf("connect: got status %s, want 200", response.Status)
	}
	s := &stream{Reader: bufio.NewReader(response.Body), Closer: response.Body}
	s.connected = readEvent(t, s.Reader)
	return s
}

func readEvent(t *testing.T, stream *bufio.Reader) map[string]any {
	t.Helper()
	line, err := stream.ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var event map[string]any
	if err := json.Unmarshal(line, &event); err != nil {
		t.Fatalf("event %q: %v", line, err)
	}
	return event
}

func TestAnInitiatorIsConnectedRevokedAndConfirms(t *testing.T) {
	b := start(t)
	stream := b.connect(t)
	connected := stream.connected
	if connected["event"] != "connected" || connected["file"] != "/f" || connected["size"] != 5.0 {
		t.Errorf("got first event %v, want connected with file /f and size 5", connected)
	}
	wait := b.exports.Withdraw("x")
	if got := readEvent(t, stream.Reader); !cmp.Equal(got, map[string]any{"event": "revoked"}) {
		t.Errorf("got %v, want revoked", got)
	}
	id, _ := connected["session"].(string)
	if status, _ := b.do(t, http.MethodDelete, "/v1/sessions/"+id, ""); status != http.StatusNoContent {
		t.Errorf("confirm: got status %d, want 204", status)
	}
	wait(t.Context()) // a minute, were it not confirmed
	if _, err := stream.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("after the end of the session: got %v, want the stream's end", err)
	}
	revocations, _ := b.get(t, "/v1/revocations").([]any)
	if len(revocations) != 1 {
		t.Fatalf("got %v, want one revocation", revocations)
	}
	first, _ := revocations[0].(map[string]any)
	at, _ := first["time"].(string)
	if _, err := time.Parse(time.RFC3339Nano, at); err != nil || first["confirmed"] != true || first["hostNQN"] != "host" {
		t.Errorf("got %v, want a confirmed one of host with a time (%v)", first, err)
	}
}

func TestRefusalsNameTheReason(t *testing.T) {
	b := start(t)
	b.exports.Update("x", func(s *export.Subsystem) { s.AllowHost = "only" })
	tests := []struct {
		body, reason string
		status       int
	}{
		{`{"subsystemNQN":"nqn:y","hostNQN":"only"}`, "nqn:y", http.StatusForbidden},
		{`{"subsystemNQN":"nqn:x","hostNQN":"other"}`, "does not allow", http.StatusForbidden},
		{`{"subsystemNQN":"nqn:x"}`, "want JSON", http.StatusBadRequest},
		{`nonsense`, "want JSON", http.StatusBadRequest},
	}
	for _, test := range tests {
		status, text := b.do(t, http.MethodPost, "/v1/connect", test.body)
		if status != test.status || !strings.Contains(text, test.reason) {
			t.Errorf("%s: got %d %q, want %d naming %q", test.body, status, text, test.status, test.reason)
		}
	}
}

func TestABrokenStreamLeavesTheSessionListed(t *testing.T) {
	b := start(t)
	if err := b.connect(t).Close(); err != nil {
		t.Fatal(err)
	}
	for !b.exports.Sessions()[0].Broken { // the server notices in its own time
		b.get(t, "/v1/healthz")
	}
	sessions, _ := b.get(t, "/v1/sessions").([]any)
	if len(sessions) != 1 {
		t.Errorf("got sessions %v, want the broken one", sessions)
	}
}

func TestTheSameHostsOldStreamEnds(t *testing.T) {
	b := start(t)
	first := b.connect(t)
	b.connect(t)
	if _, err := first.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want the first stream's end", err)
	}
}

func TestLists(t *testing.T) {
	b := start(t)
	want := []any{map[string]any{"slot": "x", "subsystemNQN": "nqn:x", "exported": true, "comment": "c", "file": "/f"}}
	if diff := cmp.Diff(want, b.get(t, "/v1/disks")); diff != "" {
		t.Errorf("disks (-want +got):\n%s", diff)
	}
	for _, path := range []string{"/v1/sessions", "/v1/revocations"} {
		if diff := cmp.Diff([]any{}, b.get(t, path)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
	if status, _ := b.do(t, http.MethodDelete, "/v1/sessions/nobody", ""); status != http.StatusNotFound {
		t.Errorf("end of an unknown session: got %d, want 404", status)
	}
}

func TestRunEndsWithOpenStreams(t *testing.T) {
	b := start(t)
	b.connect(t) // the cleanup fails if Run does not return
}

func TestATargetThatIsDownLosesItsInitiatorsWithoutAWord(t *testing.T) {
	b := start(t)
	s := b.connect(t)
	b.exports.Lose()
	if line, err := s.ReadString('\n'); line != "" || !errors.Is(err, io.EOF) {
		t.Errorf("got %q, %v, want the stream to end", line, err)
	}
	if status, _ := b.do(t, http.MethodPost, "/v1/connect", connectBody); status != http.StatusServiceUnavailable {
		t.Errorf("while down: got status %d, want 503", status)
	}
	b.exports.Restore()
	if status, _ := b.do(t, http.MethodPost, "/v1/connect", connectBody); status != http.StatusForbidden {
		t.Errorf("restored, with nothing exported yet: got status %d, want 403", status)
	}
}

func TestWhatIsNotAboutExportsIsControls(t *testing.T) {
	b := start(t)
	if status, _ := b.do(t, http.MethodPost, "/v1/faults", ""); status != http.StatusTeapot {
		t.Errorf("got status %d, want the one of control", status)
	}
}

func teapot() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
}
