package metrics

import (
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"k8s.io/component-base/metrics/legacyregistry"
	_ "k8s.io/component-base/metrics/prometheus/restclient" // has client-go report its requests
	_ "k8s.io/component-base/metrics/prometheus/workqueue"  // has client-go report on queues with a name
)

// withClientGo returns what gathers a process's registry, and beside it what client-go reports: rest_client_* and
// workqueue_*. component-base has one registry for the whole process, in which it registers these when it is imported; the
// rest of that registry is left out, since ours has the metrics of Go and of the process already.
func withClientGo(registry *prometheus.Registry) prometheus.Gatherer {
	return prometheus.Gatherers{registry, prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		families, err := legacyregistry.DefaultGatherer.Gather()
		return slices.DeleteFunc(families, func(family *dto.MetricFamily) bool { return !ofClientGo(family.GetName()) }), err
	})}
}

func ofClientGo(name string) bool {
	return strings.HasPrefix(name, "rest_client_") || strings.HasPrefix(name, "workqueue_")
}
