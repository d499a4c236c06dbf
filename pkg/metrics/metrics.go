package metrics

import (
	"runtime"

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
	build    *prometheus.GaugeVec
}

func newProcess() process {
	p := process{registry: prometheus.NewRegistry()}
	p.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	p.build = p.register().NewGaugeVec(prometheus.GaugeOpts{
		Name: "rds_csi_build_info", Help: "1 for the version of the driver that this process is, and the Go version that it was built with.",
	}, []string{"version", "goversion"})
	return p
}

// SetVersion records the version of the driver.
func (p process) SetVersion(version string) {
	p.build.WithLabelValues(version, runtime.Version()).Set(1)
}

// register returns what makes metrics in the registry.
func (p process) register() promauto.Factory { return promauto.With(p.registry) }

// Registry returns the registry of this driver's own metrics.
func (p process) Registry() *prometheus.Registry { return p.registry }

// Gatherer returns what /metrics serves.
func (p process) Gatherer() prometheus.Gatherer { return p.registry }

// operationBuckets reach from a command's round trip (50 ms on the appliance) to the sidecars' timeout.
func operationBuckets() []float64 {
	return []float64{0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30, 60}
}

func newCalls(register promauto.Factory) *prometheus.HistogramVec {
	return register.NewHistogramVec(prometheus.HistogramOpts{
		Name: "csi_plugin_operations_seconds", Help: "CSI calls served, by method and gRPC code.",
		// The check of a filesystem may take half an hour.
		Buckets: append(operationBuckets(), 120, 300, 600, 1800),
	}, []string{"driver_name", "method_name", "grpc_status_code"})
}

// driverName is the value of the label "driver_name".
const driverName = "rds.csi.srvlab.io"

func newEventsDropped(register promauto.Factory) prometheus.Counter {
	return register.NewCounter(prometheus.CounterOpts{
		Name: "rds_csi_events_dropped_total", Help: "Kubernetes Events not written because too many waited already.",
	})
}
