package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/restart"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/volumehealth"
)

// Restarter has the metrics of a pod-restarter. Its methods are safe for concurrent use and never block.
type Restarter struct {
	process
	restarted     *prometheus.CounterVec
	withheld      *prometheus.CounterVec
	actions       *prometheus.CounterVec
	leader        prometheus.Gauge
	eventsDropped prometheus.Counter
}

// NewRestarter returns the metrics of a pod-restarter. Every series begins at 0: an alert on a first increase needs the 0
// before it.
func NewRestarter() *Restarter {
	shared := newProcess()
	register := shared.register()
	m := &Restarter{
		process: shared,
		restarted: register.NewCounterVec(prometheus.CounterOpts{
			Name: "rds_csi_pods_restarted_total", Help: "Pods deleted because the device of one of their volumes is lost, by the reason that kubelet reports.",
		}, []string{"reason"}),
		withheld: register.NewCounterVec(prometheus.CounterOpts{
			Name: "rds_csi_pods_restarts_withheld_total", Help: "Pods that would have been deleted if --restart-pods-on-lost-volumes was set, each counted once, by the reason that kubelet reports.",
		}, []string{"reason"}),
		actions: register.NewCounterVec(prometheus.CounterOpts{
			Name: "rds_csi_pod_restart_actions_total", Help: "What the pod-restarter did about pods with a report about a volume, by action; one for each look.",
		}, []string{"action"}),
		leader: register.NewGauge(prometheus.GaugeOpts{
			Name: "rds_csi_pod_restarter_leader", Help: "1 while this process restarts pods, 0 while another one does.",
		}),
		eventsDropped: newEventsDropped(register),
	}
	for _, reason := range volumehealth.Lost() {
		m.restarted.WithLabelValues(reason)
		m.withheld.WithLabelValues(reason)
	}
	for _, action := range restart.Actions() {
		m.actions.WithLabelValues(string(action))
	}
	return m
}

// Gatherer returns what /metrics serves.
func (m *Restarter) Gatherer() prometheus.Gatherer { return withClientGo(m.registry) }

// CountAction counts a look at a pod.
func (m *Restarter) CountAction(action restart.Action) {
	m.actions.WithLabelValues(string(action)).Inc()
}

// CountRestarted counts a pod that was deleted.
func (m *Restarter) CountRestarted(reason string) { m.restarted.WithLabelValues(reason).Inc() }

// CountWithheld counts a pod that would have been deleted.
func (m *Restarter) CountWithheld(reason string) { m.withheld.WithLabelValues(reason).Inc() }

// BeginLeading records that this process leads: it restarts pods.
func (m *Restarter) BeginLeading() { m.leader.Set(1) }

// EndLeading records that this process no longer leads.
func (m *Restarter) EndLeading() { m.leader.Set(0) }

// CountEventDropped counts a Kubernetes Event that is lost because too many waited already.
func (m *Restarter) CountEventDropped() { m.eventsDropped.Inc() }
