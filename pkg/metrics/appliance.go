package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// appliance is how the appliance and the way to it are doing.
type appliance struct {
	commands  *prometheus.CounterVec
	durations *prometheus.HistogramVec
	connects  *prometheus.CounterVec
	connected prometheus.Gauge
}

func newAppliance(buckets []float64) appliance {
	return appliance{
		commands: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rds_csi_appliance_commands_total", Help: "Commands for the appliance, by kind and by how they ended.",
		}, []string{"command", "outcome"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "rds_csi_appliance_command_duration_seconds", Help: "How long commands for the appliance took, waiting and connecting included.", Buckets: buckets,
		}, []string{"command"}),
		connects: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rds_csi_appliance_connects_total", Help: "Attempts to connect to the appliance, by result.",
		}, []string{"result"}),
		connected: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "rds_csi_appliance_connected", Help: "1 while there is an SSH connection for new commands; it is made when it is needed.",
		}),
	}
}

func (a appliance) collectors() []prometheus.Collector {
	return []prometheus.Collector{a.commands, a.durations, a.connects, a.connected}
}

// DeclareAppliance makes the series of these kinds of commands, their outcomes and these results of connecting exist from
// the start, at zero.
func (m *Metrics) DeclareAppliance(commands, outcomes, results []string) {
	for _, command := range commands {
		m.appliance.durations.WithLabelValues(command)
		for _, outcome := range outcomes {
			m.appliance.commands.WithLabelValues(command, outcome)
		}
	}
	for _, result := range results {
		m.appliance.connects.WithLabelValues(result)
	}
}

// ObserveCommand counts a command for the appliance.
func (m *Metrics) ObserveCommand(command, outcome string, took time.Duration) {
	m.appliance.commands.WithLabelValues(command, outcome).Inc()
	m.appliance.durations.WithLabelValues(command).Observe(took.Seconds())
}

// CountConnect counts an attempt to connect to the appliance.
func (m *Metrics) CountConnect(result string) { m.appliance.connects.WithLabelValues(result).Inc() }

// SetConnected notes whether there is a connection to the appliance.
func (m *Metrics) SetConnected(connected bool) { //nolint:revive // flag-parameter: it is the value itself, not a switch
	value := 0.0
	if connected {
		value = 1
	}
	m.appliance.connected.Set(value)
}
