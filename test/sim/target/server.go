package target

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/export"
)

// Disks lists the disks of an appliance.
type Disks interface {
	Disks() []appliance.DiskInfo
}

// Server answers initiators and observers.
type Server struct {
	exports *export.Registry
	disks   Disks
	control http.Handler
}

// New makes a server; Run starts it. control answers whatever isn't about
// exports: what goes wrong and when.
func New(exports *export.Registry, disks Disks, control http.Handler) *Server {
	return &Server{exports: exports, disks: disks, control: control}
}

// Run serves l until ctx ends, then ends every stream and returns nil.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	server := &http.Server{
		Handler:           s.routes(),
		ReadHeaderTimeout: 10 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		<-ctx.Done()
		_ = server.Close()
	}()
	err := server.Serve(l)
	cancel()
	<-closed
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve initiators: %w", err)
}

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", s.control)
	mux.HandleFunc("POST /v1/connect", s.connect)
	mux.HandleFunc("DELETE /v1/sessions/{id}", s.end)
	mux.HandleFunc("GET /v1/sessions", func(w http.ResponseWriter, _ *http.Request) {
		write(w, s.exports.Sessions())
	})
	mux.HandleFunc("GET /v1/revocations", func(w http.ResponseWriter, _ *http.Request) {
		write(w, s.exports.Revocations())
	})
	mux.HandleFunc("GET /v1/disks", func(w http.ResponseWriter, _ *http.Request) {
		write(w, s.disks.Disks())
	})
	mux.HandleFunc("GET /v1/healthz", func(w http.ResponseWriter, _ *http.Request) {
		write(w, map[string]string{"status": "ok"})
	})
	return mux
}

func (s *Server) end(w http.ResponseWriter, r *http.Request) {
	if !s.exports.End(r.PathValue("id")) {
		http.Error(w, "no such session", http.StatusNotFound)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// write sends v; an error means that the client left.
func write(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}
