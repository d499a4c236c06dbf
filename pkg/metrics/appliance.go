package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds/transport"
)

// appliance has the metrics of commands for the appliance and of the connection to it.
type appliance struct {
	commands  *prometheus.CounterVec
	durations *prometheus.HistogramVec
	connects  *prometheus.CounterVec
	connected prometheus.Gauge
	fences    *prometheus.CounterVec
	fencing   *prometheus.HistogramVec
}

func newAppliance(register promauto.Factory) appliance {
	return appliance{
		commands: register.NewCounterVec(prometheus.CounterOpts{
			Name: "rds_csi_appliance_commands_total", Help: "Commands for the appliance, by kind and by how they ended: done, refused, unreachable (not sent), lost (sent, no reply), invalid (never sent).",
		}, []string{"command", "outcome"}),
		durations: register.NewHistogramVec(prometheus.HistogramOpts{
			Name: "rds_csi_appliance_command_duration_seconds", Help: "How long commands for the appliance took, waiting and connecting included.", Buckets: operationBuckets(),
		}, []string{"command"}),
		connects: register.NewCounterVec(prometheus.CounterOpts{
			Name: "rds_csi_appliance_connects_total", Help: "Attempts to connect to the appliance, by result; credentials: a key file can't be read.",
		}, []string{"result"}),
		connected: register.NewGauge(prometheus.GaugeOpts{
			Name: "rds_csi_appliance_connected", Help: "1 while there is an SSH connection for new commands; it is made when it is needed.",
		}),
		fences: register.NewCounterVec(prometheus.CounterOpts{
			Name: "rds_csi_fences_total", Help: "Attempts to revoke access to an exported volume, whoever asked for it, by outcome: confirmed (the appliance showed that access is revoked), unconfirmed (the change was sent, and it isn't known whether it holds), failed (it wasn't sent, was refused, or wasn't kept).",
		}, []string{"outcome"}),
		fencing: register.NewHistogramVec(prometheus.HistogramOpts{
			Name: "rds_csi_fence_duration_seconds", Help: "How long these attempts took, by outcome.", Buckets: operationBuckets(),
		}, []string{"outcome"}),
	}
}

func (a appliance) startAtZero() {
	for _, kind := range rds.Kinds() {
		a.durations.WithLabelValues(string(kind))
		for _, outcome := range rds.Outcomes() {
			a.commands.WithLabelValues(string(kind), string(outcome))
		}
	}
	for _, outcome := range rds.FenceOutcomes() {
		a.fences.WithLabelValues(string(outcome))
		a.fencing.WithLabelValues(string(outcome))
	}
	for _, result := range transport.ConnectResults() {
		a.connects.WithLabelValues(string(result))
	}
}

// ObserveCommand counts a command for the appliance.
func (m *Controller) ObserveCommand(kind rds.Kind, outcome rds.Outcome, took time.Duration) {
	m.appliance.commands.WithLabelValues(string(kind), string(outcome)).Inc()
	m.appliance.durations.WithLabelValues(string(kind)).Observe(took.Seconds())
	m.state.commanded(outcome)
}

// ObserveFence counts an attempt to revoke access to a volume.
func (m *Controller) ObserveFence(outcome rds.FenceOutcome, took time.Duration) {
	m.appliance.fences.WithLabelValues(string(outcome)).Inc()
	m.appliance.fencing.WithLabelValues(string(outcome)).Observe(took.Seconds())
}

// CountConnect counts an attempt to connect to the appliance.
func (m *Controller) CountConnect(result transport.ConnectResult) {
	m.appliance.connects.WithLabelValues(string(result)).Inc()
}

// SetConnected records whether there is a connection to the appliance.
func (m *Controller) SetConnected(connected bool) {
	m.appliance.connected.Set(valueOf(connected))
}

// valueOf returns 1 for true.
func valueOf(is bool) float64 { //nolint:revive // flag-parameter: it is the value itself, not a switch
	if is {
		return 1
	}
	return 0
}
