package app

import (
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"k8s.io/client-go/kubernetes/fake"
)

// freeAddress returns an address on loopback at which nobody listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

// scrape returns what a process serves at /metrics, or nothing while it doesn't.
func scrape(t *testing.T, address string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return ""
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("got %s, %v: %s", response.Status, err, body)
	}
	return string(body)
}

// Beside the driver's own metrics stand those of client-go, and none of them twice, which a scrape would fail on.
func TestAScrapeHasTheDriversMetricsAndClientGos(t *testing.T) {
	address := freeAddress(t)
	w := startWired(t, fake.NewClientset(), map[string]string{"http-address": address})
	await(t, "it leads", func() bool { return gauge(t, w.observed, "rds_csi_leader") == 1 })
	text := ""
	await(t, "it serves metrics", func() bool { text = scrape(t, address); return text != "" })
	for _, want := range []string{
		`rds_csi_build_info{goversion="` + runtime.Version() + `",version="` + version() + `"} 1`,
		`workqueue_depth{name="attachments"}`, `workqueue_retries_total{name="attachments"}`, "go_goroutines ", "process_open_fds ",
	} {
		if strings.Count(text, "\n"+want) != 1 {
			t.Errorf("got %d times %q, want it once", strings.Count(text, "\n"+want), want)
		}
	}
	if strings.Contains(text, "registered_metrics_total") {
		t.Error("component-base's metrics about itself are served, too")
	}
}
