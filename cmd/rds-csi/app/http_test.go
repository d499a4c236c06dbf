package app

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A process that isn't ready is no process to restart, and one that needs a restart isn't ready.
func TestReadinessAsksMoreThanLiveness(t *testing.T) {
	failed := func() error { return errors.New("the reason") }
	tests := map[string]struct {
		health       health
		alive, ready int
	}{
		"no checks": {health{}, 200, 200},
		"not ready": {health{ready: failed}, 200, 503},
		"not alive": {health{alive: failed}, 503, 503},
		"neither":   {health{alive: failed, ready: failed}, 503, 503},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			handler := routes(nil, test.health)
			for path, want := range map[string]int{"/healthz": test.alive, "/readyz": test.ready} {
				response := httptest.NewRecorder()
				handler.ServeHTTP(response, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
				if response.Code != want || want != 200 && !strings.Contains(response.Body.String(), "the reason") {
					t.Errorf("%s: got %d, %q, want %d", path, response.Code, response.Body, want)
				}
			}
		})
	}
}
