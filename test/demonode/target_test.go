package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

const (
	nqnA = "nqn.2026-11.io.srvlab.csi.rds:csi-0123456789abcdef0123456789ab:aaaa"
	nqnB = "nqn.2026-11.io.srvlab.csi.rds:csi-0123456789abcdef0123456789ab:bbbb"
)

// target is a simulator with one file behind every subsystem that it exports.
type target struct {
	*httptest.Server
	file string

	mu       sync.Mutex
	exported map[string]bool
	count    int
	open     map[string]*session // by ID
	ended    []string
	lies     []string // sessions that were confirmed while a loop device was still on the file
}

type session struct {
	revoke chan struct{} // closed: send the event
	cut    chan struct{} // closed: break the stream
}

func newTarget(t *testing.T) *target {
	t.Helper()
	folder, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s := &target{file: filepath.Join(folder, "volume.img"), exported: map[string]bool{nqnA: true}, open: map[string]*session{}}
	if err := os.WriteFile(s.file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(s.file, 64<<20); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/connect", s.connect)
	mux.HandleFunc("DELETE /v1/sessions/{id}", s.end)
	s.Server = httptest.NewServer(mux)
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
		goleak.VerifyNone(t)
	})
	return s
}

func (s *target) connect(w http.ResponseWriter, r *http.Request) {
	var request map[string]string
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil || request["hostNQN"] == "" {
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	nqn := request["subsystemNQN"]
	s.mu.Lock()
	if !s.exported[nqn] {
		s.mu.Unlock()
		http.Error(w, "not exported", http.StatusForbidden)
		return
	}
	s.count++
	id := fmt.Sprintf("s%d", s.count)
	opened := &session{revoke: make(chan struct{}), cut: make(chan struct{})}
	s.open[id] = opened
	s.mu.Unlock()
	out := http.NewResponseController(w)
	_, _ = fmt.Fprintf(w, "{\"event\":\"connected\",\"session\":%q,\"file\":%q,\"size\":1}\n", id, s.file)
	_ = out.Flush()
	select {
	case <-opened.revoke:
		_, _ = fmt.Fprintln(w, `{"event":"revoked"}`)
		_ = out.Flush()
	case <-opened.cut:
		return
	case <-r.Context().Done():
		return
	}
	<-r.Context().Done()
}

func (s *target) end(w http.ResponseWriter, r *http.Request) {
	devices, err := devicesOf(s.file)
	s.mu.Lock()
	defer s.mu.Unlock()
	id := r.PathValue("id")
	s.ended = append(s.ended, id)
	delete(s.open, id)
	if err != nil || len(devices) > 0 {
		s.lies = append(s.lies, id)
	}
	w.WriteHeader(http.StatusNoContent)
}

// withdraw takes every subsystem away: nobody may come in, and whoever is in is told.
func (s *target) withdraw() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.exported)
	for _, opened := range s.open {
		close(opened.revoke)
	}
}

func (s *target) breakStreams() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, opened := range s.open {
		close(opened.cut)
	}
	s.open = map[string]*session{}
}

func (s *target) hasEnded(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(s.ended, id)
}

func (s *target) sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

func (s *target) checkHonest(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.lies) > 0 {
		t.Errorf("sessions confirmed while a loop device was attached: %v", s.lies)
	}
}
