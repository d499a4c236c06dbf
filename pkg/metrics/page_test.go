package metrics

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	clientgo "k8s.io/client-go/tools/metrics"
	"k8s.io/client-go/util/workqueue"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/test/generated"
)

// described is one metric on the page.
type described struct {
	Name, Labels, Type, Processes, Help string
}

// reporter is a process's metrics.
type reporter struct {
	process  string
	registry *prometheus.Registry
	gatherer prometheus.Gatherer
	// use has those series appear that don't exist from the start.
	use func()
}

func reporters() []reporter {
	controller, node, restarter := NewController(), New(), NewRestarter()
	return []reporter{
		{"controller", controller.Registry(), controller.Gatherer(), func() {
			controller.SetVersion("v1")
			controller.ObserveCommand(rds.KindProbe, rds.OutcomeDone, time.Second)
			controller.ObservePools(rds.Pools{Mounted: []rds.Pool{{MountPoint: "raid10", State: "clean"}}})
			controller.ObserveVersion("7.24.4 (stable)")
			controller.ObserveCall("CreateVolume", "OK", time.Second)
			useClientGo()
		}},
		{"node", node.Registry(), node.Gatherer(), func() {
			node.SetVersion("v1")
			node.ObserveCall("NodeStageVolume", "OK", time.Second)
		}},
		{"pod-restarter", restarter.Registry(), restarter.Gatherer(), func() { restarter.SetVersion("v1") }},
	}
}

// useClientGo has every metric of client-go appear.
func useClientGo() {
	limiter := workqueue.DefaultTypedControllerRateLimiter[string]()
	workqueue.NewTypedRateLimitingQueueWithConfig(limiter, workqueue.TypedRateLimitingQueueConfig[string]{Name: "attachments"}).ShutDown()
	clientgo.EnsureRegistered()
	ctx, server := context.Background(), url.URL{Host: "192.0.2.1"}
	clientgo.RequestLatency.Observe(ctx, "GET", server, time.Second)
	clientgo.RequestSize.Observe(ctx, "GET", server.Host, 1)
	clientgo.ResponseSize.Observe(ctx, "GET", server.Host, 1)
	clientgo.RateLimiterLatency.Observe(ctx, "GET", server, time.Second)
	clientgo.RequestResult.Increment(ctx, "200", "GET", server.Host)
	clientgo.RequestRetry.IncrementRetry(ctx, "200", "GET", server.Host)
	clientgo.ExecPluginCalls.Increment(0, "no_error")
	clientgo.TransportCreateCalls.Increment("hit")
	clientgo.TransportCAReloads.Increment("success", "CA_changed")
	clientgo.TransportCacheGCCalls.Increment("deleted")
}

// families returns what the registry has, without what client_golang says about Go and the process.
func families(t *testing.T, gatherer prometheus.Gatherer) map[string]*dto.MetricFamily {
	t.Helper()
	gathered, err := gatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]*dto.MetricFamily{}
	for _, family := range gathered {
		if !strings.HasPrefix(family.GetName(), "go_") && !strings.HasPrefix(family.GetName(), "process_") {
			found[family.GetName()] = family
		}
	}
	return found
}

// registered returns how many metrics are registered, with series or without.
func registered(registry *prometheus.Registry) int {
	descriptions := make(chan *prometheus.Desc)
	go func() {
		registry.Describe(descriptions)
		close(descriptions)
	}()
	names := map[string]bool{}
	for description := range descriptions {
		_, name, _ := strings.Cut(description.String(), `fqName: "`)
		name, _, _ = strings.Cut(name, `"`)
		if !strings.HasPrefix(name, "go_") && !strings.HasPrefix(name, "process_") {
			names[name] = true
		}
	}
	return len(names)
}

func labels(family *dto.MetricFamily) []string {
	var names []string
	for _, label := range family.GetMetric()[0].GetLabel() {
		names = append(names, label.GetName())
	}
	return names
}

// knownValues says which values the labels have, as far as the series from the start tell.
func knownValues(family *dto.MetricFamily) string {
	values := map[string]map[string]bool{}
	for _, metric := range family.GetMetric() {
		for _, label := range metric.GetLabel() {
			if values[label.GetName()] == nil {
				values[label.GetName()] = map[string]bool{}
			}
			values[label.GetName()]["`"+label.GetValue()+"`"] = true
		}
	}
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(values)) {
		fmt.Fprintf(&text, " *%s*: %s.", name, strings.Join(slices.Sorted(maps.Keys(values[name])), ", "))
	}
	return text.String()
}

func TestThePageOfMetricsHasEveryMetric(t *testing.T) {
	page := map[string]*described{}
	for _, reporter := range reporters() {
		known := families(t, reporter.registry)
		reporter.use()
		used := families(t, reporter.gatherer)
		if got, want := len(families(t, reporter.registry)), registered(reporter.registry); got != want {
			t.Fatalf("the %s has %d metrics, and %d of them have series; use the others in reporters()", reporter.process, want, got)
		}
		for name, family := range used {
			if before, found := page[name]; found {
				before.Processes += ", " + reporter.process
				continue
			}
			entry := &described{Name: name, Type: strings.ToLower(family.GetType().String()), Processes: reporter.process, Help: generated.Cell(family.GetHelp())}
			if names := labels(family); len(names) > 0 {
				entry.Labels = "{" + strings.Join(names, ",") + "}"
			}
			if family, found := known[name]; found {
				entry.Help += knownValues(family)
			}
			page[name] = entry
		}
	}
	var metrics []*described
	for _, name := range slices.Sorted(maps.Keys(page)) {
		metrics = append(metrics, page[name])
	}
	generated.Page(t, "metrics.md", "../../docs/metrics.md", metrics)
}
