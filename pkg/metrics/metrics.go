package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// The values of the label "result".
const (
	resultSuccess = "success"
	resultError   = "error"
)

func resultOf(err error) string {
	if err != nil {
		return resultError
	}
	return resultSuccess
}

// process has the metrics of every process, in a registry of its own. Its methods are safe for concurrent use and never
// block.
type process struct {
	registry *prometheus.Registry
}

func newProcess() process {
	p := process{registry: prometheus.NewRegistry()}
	p.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return p
}

// register returns what makes metrics in the registry.
func (p process) register() promauto.Factory { return promauto.With(p.registry) }

// Registry returns the registry that /metrics serves.
func (p process) Registry() *prometheus.Registry { return p.registry }

// operationBuckets reach from a command's round trip (50 ms on the appliance) to the sidecars' timeout.
func operationBuckets() []float64 {
	return []float64{0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30, 60}
}

func newCalls(register promauto.Factory) *prometheus.HistogramVec {
	return register.NewHistogramVec(prometheus.HistogramOpts{
		Name: "csi_plugin_operations_seconds", Help: "CSI calls served, by method and gRPC code.", Buckets: operationBuckets(),
	}, []string{"driver_name", "method_name", "grpc_status_code"})
}

// driverName is the value of the label "driver_name".
const driverName = "rds.csi.srvlab.io"

func newEventsDropped(register promauto.Factory) prometheus.Counter {
	return register.NewCounter(prometheus.CounterOpts{
		Name: "rds_csi_events_dropped_total", Help: "Kubernetes Events not written because too many waited already.",
	})
}
