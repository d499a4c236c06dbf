package main

import (
	"bytes"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/metrics"
)

const shipped = "../../../manifests/components/monitoring/prometheusrule.yaml"

// serve serves the metrics of a process, and returns its address.
func serve(t *testing.T, process prometheus.Gatherer) string {
	t.Helper()
	server := httptest.NewServer(promhttp.HandlerFor(process, promhttp.HandlerOpts{}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func check(t *testing.T, arguments ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := run(t.Context(), append([]string{"--interval=100ms"}, arguments...), &out)
	return out.String(), err
}

// The controller cleared before it was scraped for the first time, as one does that starts after a node died.
func TestAnAlertIsSeenFiring(t *testing.T) {
	observed := metrics.NewController()
	address := serve(t, observed.Registry())
	observed.ObserveReconcile(attach.ActionClear, nil, time.Second)
	observed.BeginMassDeletion()
	out, err := check(t, "--scrape="+address, "--rules="+shipped, "--want=StaleAttachmentsCleared,RdsClearingHeld")
	if err != nil || !strings.Contains(out, "1 VolumeAttachments were deleted") || strings.Count(out, "\n") != 2 {
		t.Errorf("got %v, %q, want both alerts once, with what they say", err, out)
	}
}

// The first increase of a controller that is scraped already fires as well.
func TestAnIncreaseBetweenTwoScrapesIsSeen(t *testing.T) {
	observed := metrics.NewController()
	address := serve(t, observed.Registry())
	time.AfterFunc(500*time.Millisecond, func() { observed.ObserveReconcile(attach.ActionClear, nil, time.Second) })
	if _, err := check(t, "--scrape="+address, "--rules="+shipped, "--want=StaleAttachmentsCleared"); err != nil {
		t.Error(err)
	}
}

func TestAnAlertThatDoesNotFireIsAnError(t *testing.T) {
	observed := metrics.NewController()
	address := serve(t, observed.Registry())
	observed.AwaitBegin()
	observed.BeginMassDeletion()
	away := httptest.NewServer(nil)
	away.Close()
	for name, test := range map[string]struct {
		arguments []string
		want      string
	}{
		"one of two": {[]string{"--scrape=" + address, "--rules=" + shipped, "--want=RdsClearingHeld,StaleAttachmentsCleared", "--timeout=5s"}, "within 5s: StaleAttachmentsCleared; StaleAttachmentsCleared is inactive"},
		"pending":    {[]string{"--scrape=" + address, "--rules=" + shipped, "--want=RdsClearingNotBegun", "--timeout=5s"}, "RdsClearingNotBegun is pending (for 5m0s)"},
		"away":       {[]string{"--scrape=" + strings.TrimPrefix(away.URL, "http://"), "--rules=" + shipped, "--want=RdsClearingHeld", "--timeout=5s"}, "can't be scraped"},
		"unknown":    {[]string{"--scrape=" + address, "--rules=" + shipped, "--want=NoSuchAlert"}, `no alert "NoSuchAlert"`},
		"no rules":   {[]string{"--scrape=" + address, "--rules=rulecheck_test.go", "--want=RdsClearingHeld"}, "rulecheck_test.go"},
		"no flags":   {[]string{"--scrape=" + address}, "are needed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if out, err := check(t, test.arguments...); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, %q, want an error with %q", err, out, test.want)
			}
		})
	}
}

func TestPlainRulesAreRead(t *testing.T) {
	observed := metrics.NewController()
	address := serve(t, observed.Registry())
	observed.BeginLeading()
	plain := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(plain, []byte("groups: [{name: one, rules: [{alert: Leads, expr: rds_csi_leader == 1}]}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := check(t, "--scrape="+address, "--rules="+plain, "--want=Leads"); err != nil {
		t.Errorf("got %v, %q", err, out)
	}
}
