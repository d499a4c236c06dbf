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

// health are the checks of a process. Each returns nil, or an error that says what is wrong. They are safe for concurrent
// use. A nil one always succeeds.
type health struct {
	// alive fails if only a restart helps: what it doesn't look at is whether others can be reached. It is /healthz.
	alive func() error
	// ready fails while the process can't do its work yet. It is /readyz, which asks alive, too.
	ready func() error
}

// reporter is the metrics of a process.
type reporter interface {
	SetVersion(version string)
	Gatherer() prometheus.Gatherer
}

// serveHTTP serves /metrics, /healthz and /readyz on address until ctx ends. With an empty address it serves nothing.
func serveHTTP(ctx context.Context, address string, observed reporter, health health) error {
	if address == "" {
		<-ctx.Done()
		return nil
	}
	observed.SetVersion(version())
	var listen net.ListenConfig
	listener, err := listen.Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("--http-address: %w", err)
	}
	server := &http.Server{Handler: routes(observed.Gatherer(), health), ReadHeaderTimeout: httpTimeout, ReadTimeout: httpTimeout, WriteTimeout: httpTimeout}
	shutdown := make(chan struct{})
	context.AfterFunc(ctx, func() {
		defer close(shutdown)
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), httpShutdown)
		defer cancel()
		_ = server.Shutdown(bounded)
	})
	klog.FromContext(ctx).Info("Serving /metrics, /healthz and /readyz", "address", listener.Addr().String())
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve /metrics: %w", err)
	}
	<-shutdown
	return nil
}

func routes(metrics prometheus.Gatherer, health health) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	mux.Handle("GET /healthz", answer(health.alive))
	mux.Handle("GET /readyz", answer(health.alive, health.ready))
	return mux
}

// answer returns a handler that makes the checks.
func answer(checks ...func() error) http.HandlerFunc {
	return func(response http.ResponseWriter, _ *http.Request) {
		for _, check := range checks {
			if check == nil {
				continue
			}
			if err := check(); err != nil {
				http.Error(response, err.Error(), http.StatusServiceUnavailable)
				return
			}
		}
		_, _ = response.Write([]byte("ok\n"))
	}
}
