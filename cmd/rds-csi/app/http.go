package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"k8s.io/klog/v2"
)

const (
	httpTimeout  = 10 * time.Second
	httpShutdown = 5 * time.Second
)

// serveHTTP serves /metrics and /healthz on address until ctx ends. With an empty address it serves nothing. healthy
// returns nil, or an error that says why the process can't do its work; it must be safe for concurrent use.
func serveHTTP(ctx context.Context, address string, registry *prometheus.Registry, healthy func() error) error {
	if address == "" {
		<-ctx.Done()
		return nil
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(response http.ResponseWriter, _ *http.Request) {
		if err := healthy(); err != nil {
			http.Error(response, err.Error(), http.StatusServiceUnavailable)
			return
		}
		_, _ = response.Write([]byte("ok\n"))
	})
	var listen net.ListenConfig
	listener, err := listen.Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("--http-address: %w", err)
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: httpTimeout, ReadTimeout: httpTimeout, WriteTimeout: httpTimeout}
	shutdown := make(chan struct{})
	context.AfterFunc(ctx, func() {
		defer close(shutdown)
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), httpShutdown)
		defer cancel()
		_ = server.Shutdown(bounded)
	})
	klog.FromContext(ctx).Info("Serving /metrics and /healthz", "address", listener.Addr().String())
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve /metrics: %w", err)
	}
	<-shutdown
	return nil
}
