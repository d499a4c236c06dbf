package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
)

// Metrics has the driver's metrics, in a registry of its own. Its methods are safe for concurrent use and never block.
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
	notBegun         prometheus.Gauge
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

// New returns the metrics of a node process. Series with labels appear when they are counted first.
func New() *Metrics {
	// From a command's round trip (50 ms on the appliance) to the sidecars' timeout.
	buckets := []float64{0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30, 60}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	register := promauto.With(registry)
	m := &Metrics{
		registry: registry,
		calls: register.NewHistogramVec(prometheus.HistogramOpts{
			Name: "csi_plugin_operations_seconds", Help: "CSI calls served, by method and gRPC code.", Buckets: buckets,
		}, []string{"driver_name", "method_name", "grpc_status_code"}),
		operations: register.NewHistogramVec(prometheus.HistogramOpts{
			Name: "rds_csi_attachment_operation_duration_seconds", Help: "Attaching, detaching and reconciling one attachment, by result.", Buckets: buckets,
		}, []string{"operation", "result"}),
		staleCleared: register.NewCounter(prometheus.CounterOpts{
			Name: "rds_csi_stale_attachments_cleared_total", Help: "VolumeAttachments deleted because their node is proven gone.",
		}),
		reconcileActions: register.NewCounterVec(prometheus.CounterOpts{
			Name: "rds_csi_reconcile_actions_total", Help: "What the attachment reconciler did, by action.",
		}, []string{"action"}),
		graceUsed: register.NewCounter(prometheus.CounterOpts{
			Name: "rds_csi_grace_period_used_total", Help: "Volumes handed off to a new node while the old one was still detaching.",
		}),
		decisions: register.NewCounterVec(prometheus.CounterOpts{
			Name: "rds_csi_publish_decisions_total", Help: "Decisions on requests to publish a volume, by verdict.",
		}, []string{"verdict"}),
		restored: register.NewCounterVec(prometheus.CounterOpts{
			Name: "rds_csi_volumes_restored_total", Help: "Volumes whose record or export was written again after the appliance had lost it, by reason.",
		}, []string{"reason"}),
		leader: register.NewGauge(prometheus.GaugeOpts{
			Name: "rds_csi_leader", Help: "1 while this process clears stale attachments, 0 while another one does.",
		}),
		eventsDropped: newEventsDropped(register),
		massDeletion: register.NewGauge(prometheus.GaugeOpts{
			Name: "rds_csi_mass_deletion_held", Help: "1 while clearing and take-over are paused because too many nodes vanished at once.",
		}),
		notBegun: register.NewGauge(prometheus.GaugeOpts{
			Name: "rds_csi_clearing_not_begun", Help: "1 while clearing and take-over haven't begun, because this process hasn't seen all nodes or hasn't reached the appliance yet.",
		}),
		orphans: register.NewGaugeVec(prometheus.GaugeOpts{
			Name: "rds_csi_orphans", Help: "Orphans on the appliance or in Kubernetes, by kind, as of the last audit; 0 where no audit runs.",
		}, []string{"kind"}),
		connectionsLost: register.NewCounter(prometheus.CounterOpts{
			Name: "rds_csi_node_connections_lost_total", Help: "Staged volumes whose connection the kernel had given up.",
		}),
		reconnects: register.NewCounterVec(prometheus.CounterOpts{
			Name: "rds_csi_node_reconnects_total", Help: "Attempts to reconnect staged volumes whose connection the kernel had given up, by result.",
		}, []string{"result"}),
		appliance: newAppliance(register, buckets),
	}
	for _, result := range []string{resultSuccess, resultError} {
		m.reconnects.WithLabelValues(result)
	}
	return m
}

func newEventsDropped(register promauto.Factory) prometheus.Counter {
	return register.NewCounter(prometheus.CounterOpts{
		Name: "rds_csi_events_dropped_total", Help: "Kubernetes Events not written because too many waited already.",
	})
}

// NewController returns the metrics of a controller. Every series whose labels are known begins at 0: an alert on a
// first increase needs the 0 before it. New doesn't do that, since there may be thousands of node processes.
func NewController() *Metrics {
	m := New()
	for _, action := range attach.Actions() {
		m.reconcileActions.WithLabelValues(string(action))
	}
	for _, verdict := range attach.Verdicts() {
		m.decisions.WithLabelValues(verdict.String())
	}
	for _, reason := range attach.RestoreReasons() {
		m.restored.WithLabelValues(string(reason))
	}
	for _, kind := range attach.OrphanKinds() {
		m.orphans.WithLabelValues(string(kind))
	}
	m.appliance.startAtZero()
	return m
}

// Registry returns the registry that /metrics serves.
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

// CountConnectionLost counts a staged volume whose connection the kernel had given up.
func (m *Metrics) CountConnectionLost() { m.connectionsLost.Inc() }

// CountReconnect counts an attempt to reconnect such a volume. err is nil if it succeeded.
func (m *Metrics) CountReconnect(err error) { m.reconnects.WithLabelValues(resultOf(err)).Inc() }

func resultOf(err error) string {
	if err != nil {
		return resultError
	}
	return resultSuccess
}

// ObserveReconcile counts the work on one attachment. err is nil if it succeeded.
func (m *Metrics) ObserveReconcile(action attach.Action, err error, took time.Duration) {
	m.reconcileActions.WithLabelValues(string(action)).Inc()
	m.operations.WithLabelValues(operationReconcile, resultOf(err)).Observe(took.Seconds())
	if action == attach.ActionClear {
		m.staleCleared.Inc()
	}
}

// CountDecision counts a decision on a publish request.
func (m *Metrics) CountDecision(verdict attach.Verdict) {
	m.decisions.WithLabelValues(verdict.String()).Inc()
}

// CountHandOff counts a volume that was handed off while its holder was still detaching.
func (m *Metrics) CountHandOff() { m.graceUsed.Inc() }

// CountRestored counts a volume whose record or export was written again after the appliance had lost it.
func (m *Metrics) CountRestored(reason attach.RestoreReason) {
	m.restored.WithLabelValues(string(reason)).Inc()
}

// BeginLeading records that this process leads: it clears stale attachments.
func (m *Metrics) BeginLeading() { m.leader.Set(1) }

// EndLeading records that this process no longer leads.
func (m *Metrics) EndLeading() { m.leader.Set(0) }

// CountEventDropped counts a Kubernetes Event that is lost because too many waited already.
func (m *Metrics) CountEventDropped() { m.eventsDropped.Inc() }

// BeginMassDeletion records that clearing and take-over are paused, until EndMassDeletion.
func (m *Metrics) BeginMassDeletion() { m.massDeletion.Set(1) }

// EndMassDeletion records that clearing and take-over are no longer paused.
func (m *Metrics) EndMassDeletion() { m.massDeletion.Set(0) }

// AwaitBegin records that clearing and take-over haven't begun, until Begin.
func (m *Metrics) AwaitBegin() { m.notBegun.Set(1) }

// Begin records that clearing and take-over have begun.
func (m *Metrics) Begin() { m.notBegun.Set(0) }

// SetOrphans records the number of orphans of a kind that the last audit found.
func (m *Metrics) SetOrphans(kind attach.OrphanKind, count int) {
	m.orphans.WithLabelValues(string(kind)).Set(float64(count))
}
