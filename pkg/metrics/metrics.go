package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Metrics are the driver's metrics, in a registry of their own. Its methods are safe for concurrent use and never block.
type Metrics struct {
	registry         *prometheus.Registry
	calls            *prometheus.HistogramVec
	operations       *prometheus.HistogramVec
	staleCleared     prometheus.Counter
	reconcileActions *prometheus.CounterVec
	graceUsed        prometheus.Counter
	decisions        *prometheus.CounterVec
	restored         *prometheus.CounterVec
	leader           prometheus.Gauge
	eventsDropped    prometheus.Counter
	massDeletion     prometheus.Gauge
	orphans          *prometheus.GaugeVec
	connectionsLost  prometheus.Counter
	reconnects       *prometheus.CounterVec
	appliance        appliance
}

// The values of the label "operation".
const (
	operationAttach    = "attach"
	operationDetach    = "detach"
	operationReconcile = "reconcile"
)

// The values of the label "result".
const (
	resultSuccess = "success"
	resultError   = "error"
)

// New registers every metric, with every series that can be known beforehand at zero.
func New() *Metrics {
	// From a command's round trip (50 ms on the appliance) to the sidecars' patience.
	buckets := []float64{0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30, 60}
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		calls: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "csi_plugin_operations_seconds", Help: "CSI calls served, by method and gRPC code.", Buckets: buckets,
		}, []string{"driver_name", "method_name", "grpc_status_code"}),
		operations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "rds_csi_attachment_operation_duration_seconds", Help: "Attaching, detaching and reconciling one attachment, by result.", Buckets: buckets,
		}, []string{"operation", "result"}),
		staleCleared: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "rds_csi_stale_attachments_cleared_total", Help: "VolumeAttachments deleted because their node is proven gone.",
		}),
		reconcileActions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rds_csi_reconcile_actions_total", Help: "What the attachment reconciler did, by action.",
		}, []string{"action"}),
		graceUsed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "rds_csi_grace_period_used_total", Help: "Volumes handed off to a new node while the old one was still detaching.",
		}),
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rds_csi_publish_decisions_total", Help: "Decisions on requests to publish a volume, by verdict.",
		}, []string{"verdict"}),
		restored: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rds_csi_volumes_restored_total", Help: "Volumes of which the appliance had lost something that it was given back, by reason.",
		}, []string{"reason"}),
		leader: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "rds_csi_leader", Help: "1 while this process is the one that clears stale attachments, else 0.",
		}),
		eventsDropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "rds_csi_events_dropped_total", Help: "Kubernetes Events not written because too many waited already.",
		}),
		massDeletion: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "rds_csi_mass_deletion_held", Help: "1 while clearing and take-over are held because too many nodes vanished at once.",
		}),
		orphans: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "rds_csi_orphans", Help: "What doesn't pair between appliance and Kubernetes, by kind, as of the last audit; 0 where no audit runs.",
		}, []string{"kind"}),
		connectionsLost: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "rds_csi_node_connections_lost_total", Help: "Staged volumes whose connection the kernel was found to have given up.",
		}),
		reconnects: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rds_csi_node_reconnects_total", Help: "Attempts to connect such volumes again before they are published again, by result.",
		}, []string{"result"}),
		appliance: newAppliance(buckets),
	}
	m.registry.MustRegister(m.appliance.collectors()...)
	m.registry.MustRegister(m.calls, m.operations, m.staleCleared, m.reconcileActions, m.graceUsed, m.decisions, m.restored, m.massDeletion, m.orphans, m.leader, m.eventsDropped, m.connectionsLost, m.reconnects,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, result := range []string{resultSuccess, resultError} {
		m.reconnects.WithLabelValues(result)
	}
	return m
}

// Declare makes the series of these reconcile actions and verdicts exist from the start, at zero.
func (m *Metrics) Declare(actions, verdicts []string) {
	for _, action := range actions {
		m.reconcileActions.WithLabelValues(action)
	}
	for _, verdict := range verdicts {
		m.decisions.WithLabelValues(verdict)
	}
}

// Registry is what /metrics serves.
func (m *Metrics) Registry() *prometheus.Registry { return m.registry }

// ObserveCall counts a finished CSI call.
func (m *Metrics) ObserveCall(method, code string, took time.Duration) {
	m.calls.WithLabelValues("rds.csi.srvlab.io", method, code).Observe(took.Seconds())
	operation := map[string]string{"ControllerPublishVolume": operationAttach, "ControllerUnpublishVolume": operationDetach}[method]
	if operation != "" {
		result := resultError
		if code == "OK" {
			result = resultSuccess
		}
		m.operations.WithLabelValues(operation, result).Observe(took.Seconds())
	}
}

// CountConnectionLost counts a staged volume whose connection was found gone.
func (m *Metrics) CountConnectionLost() { m.connectionsLost.Inc() }

// CountReconnect counts an attempt to connect such a volume again; err is what it failed with, or nil.
func (m *Metrics) CountReconnect(err error) { m.reconnects.WithLabelValues(resultOf(err)).Inc() }

func resultOf(err error) string {
	if err != nil {
		return resultError
	}
	return resultSuccess
}

// ObserveReconcile counts what the reconciler did about one attachment; err is what it failed with, or nil.
func (m *Metrics) ObserveReconcile(action string, err error, took time.Duration) {
	m.reconcileActions.WithLabelValues(action).Inc()
	m.operations.WithLabelValues(operationReconcile, resultOf(err)).Observe(took.Seconds())
}

// CountStaleCleared counts a VolumeAttachment that was deleted because its node is proven gone.
func (m *Metrics) CountStaleCleared() { m.staleCleared.Inc() }

// CountDecision counts a decision on a publish request.
func (m *Metrics) CountDecision(verdict string) { m.decisions.WithLabelValues(verdict).Inc() }

// DeclareRestored makes the series of these reasons exist from the start, at zero.
func (m *Metrics) DeclareRestored(reasons []string) {
	for _, reason := range reasons {
		m.restored.WithLabelValues(reason)
	}
}

// CountRestored counts a volume of which the appliance was given back what it had lost.
func (m *Metrics) CountRestored(reason string) { m.restored.WithLabelValues(reason).Inc() }

// CountGraceUsed counts a volume that was handed off while its old node was still detaching.
func (m *Metrics) CountGraceUsed() { m.graceUsed.Inc() }

// BeginLeading says that this process is from now on the one that clears stale attachments.
func (m *Metrics) BeginLeading() { m.leader.Set(1) }

// EndLeading says that it isn't any more.
func (m *Metrics) EndLeading() { m.leader.Set(0) }

// CountEventDropped counts a Kubernetes Event that is lost because too many waited already.
func (m *Metrics) CountEventDropped() { m.eventsDropped.Inc() }

// HoldMassDeletion notes that clearing and take-over are held, until ReleaseMassDeletion.
func (m *Metrics) HoldMassDeletion() { m.massDeletion.Set(1) }

// ReleaseMassDeletion notes that clearing and take-over aren't held.
func (m *Metrics) ReleaseMassDeletion() { m.massDeletion.Set(0) }

// DeclareOrphans makes the series of these kinds exist from the start, at zero.
func (m *Metrics) DeclareOrphans(kinds []string) {
	for _, kind := range kinds {
		m.orphans.WithLabelValues(kind)
	}
}

// SetOrphans notes how many orphans of a kind the last audit found.
func (m *Metrics) SetOrphans(kind string, count int) {
	m.orphans.WithLabelValues(kind).Set(float64(count))
}
