package sim_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
)

// ask makes a request to the HTTP port.
func (r *rig) ask(t *testing.T, method, path, body string) (status int, answer string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, r.TargetURL()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
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

func TestFaultsAreInjectedOverHTTP(t *testing.T) {
	r := newRig(t)
	status, answer := r.ask(t, http.MethodPost, "/v1/faults",
		`{"kind":"garbage","line":"struck","when":{"command":"put \"b","nth":2,"times":1}}`)
	if want := `{"kind":"garbage","when":{"command":"put \"b","nth":2,"times":1},"strikes":0}` + "\n"; status != http.StatusCreated || answer != want {
		t.Errorf("got %d %s, want 201 %s", status, answer, want)
	}
	if got := r.struck(t, `:put "a"`, `:put "b"`, `:put "b"`, `:put "b"`); got != "..x." {
		t.Errorf("it struck %s, want ..x.", got)
	}
	if _, answer := r.ask(t, http.MethodGet, "/v1/faults", ""); !strings.Contains(answer, `"strikes":1`) {
		t.Errorf("got %s, want one strike", answer)
	}
	if status, _ := r.ask(t, http.MethodPost, "/v1/faults", `{"name":"reply lost"}`); status != http.StatusCreated {
		t.Errorf("inject by name: status %d", status)
	}
	if _, err := r.try(t.Context(), `:put 1`); err == nil {
		t.Error("the reply was not lost")
	}
	if status, _ := r.ask(t, http.MethodDelete, "/v1/faults", ""); status != http.StatusNoContent {
		t.Errorf("clear: status %d", status)
	}
	if got, err := r.try(t.Context(), `:put 1`); got != "1\r\n" || err != nil {
		t.Errorf("after clearing: got %q, %v", got, err)
	}
}

func TestARestartIsAskedForWithHowItComesBack(t *testing.T) {
	r := withDisk(t)
	if status, answer := r.ask(t, http.MethodPost, "/v1/faults", `{"kind":"restart","boot":{"exportsOff":true}}`); status != http.StatusCreated {
		t.Errorf("got %d %s", status, answer)
	}
	if _, err := r.try(t.Context(), `:put 1`); err == nil {
		t.Error("the line was answered")
	}
	r.comeUp()
	if got := r.Disks()[0]; got.Exported {
		t.Errorf("got %+v, want it not exported", got)
	}
}

func TestALateReplyIsAskedForInWords(t *testing.T) {
	r := newRig(t)
	if status, answer := r.ask(t, http.MethodPost, "/v1/faults", `{"kind":"late","delay":"1ms"}`); status != http.StatusCreated {
		t.Errorf("got %d %s", status, answer)
	}
	if got, err := r.try(t.Context(), `:put 1`); got != "1\r\n" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestBadRequestsAreNamed(t *testing.T) {
	r := newRig(t)
	tests := map[string]string{
		`{"name":"no such"}`:             `no such`,
		`{}`:                             `kind`,
		`{"kind":"no-such"}`:             `no-such`,
		`{"kind":"late","delay":"soon"}`: `delay`,
		`{"kind":"garbage","when":{"command":"("}}`:           `regexp`,
		`{"kind":"garbage","frequency":3}`:                    `frequency`,
		`nonsense`:                                            `bad request`,
		`{"kind":"garbage","line":"` + long(1<<16) + `"}`:     `too large`,
		`{"kind":"garbage","when":{"probability":"certain"}}`: `probability`,
	}
	for body, want := range tests {
		status, answer := r.ask(t, http.MethodPost, "/v1/faults", body)
		if status != http.StatusBadRequest || !strings.Contains(answer, want) {
			t.Errorf("%.60s: got %d %s, want 400 naming %q", body, status, answer, want)
		}
	}
	if _, answer := r.ask(t, http.MethodGet, "/v1/faults", ""); answer != "[]\n" {
		t.Errorf("got %s, want no fault", answer)
	}
	if status, _ := r.ask(t, http.MethodPost, "/v1/reboot", `{"powerCut":true}`); status != http.StatusBadRequest || r.Phase() != appliance.Up {
		t.Errorf("a reboot that is a power cut: got %d in phase %v, want a refusal", status, r.Phase())
	}
}

func long(n int) string { return strings.Repeat("x", n) }

func TestRebootAndPowerCutOverHTTP(t *testing.T) {
	tests := []struct{ path, body, comment, listed string }{
		{"/v1/reboot", "", "1", "2"},
		{"/v1/reboot", `{"emptyListings":true}`, "1", "0"},
		{"/v1/power-cut", "", "0", "2"},
		{"/v1/power-cut", `{"emptyListings":true}`, "0", "0"},
	}
	for _, test := range tests {
		r := withDisk(t, func(o *sim.Options) { o.FlashDelay = time.Minute })
		r.Advance(time.Hour)
		r.operate(t, `/disk set x comment="1"`)
		status, answer := r.ask(t, http.MethodPost, test.path, test.body)
		if status != http.StatusOK || answer != `{"phase":"down"}`+"\n" {
			t.Errorf("%s %s: got %d %s, want 200 and down", test.path, test.body, status, answer)
		}
		r.NextPhase()
		if _, answer := r.ask(t, http.MethodGet, "/v1/phase", ""); answer != `{"phase":"starting"}`+"\n" {
			t.Errorf("got %s, want starting", answer)
		}
		if got := r.operate(t, `:put [:len [/disk find]]`); got != test.listed {
			t.Errorf("%s %s: %s disks are listed while starting, want %s", test.path, test.body, got, test.listed)
		}
		r.comeUp()
		if got := r.comment(t); got != test.comment {
			t.Errorf("%s: got the comment %q, want %q", test.path, got, test.comment)
		}
	}
}
