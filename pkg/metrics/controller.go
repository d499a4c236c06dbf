package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
)

// Controller has the metrics of a controller process. Its methods are safe for concurrent use and never block.
type Controller struct {
	process
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
	failover         failover
	appliance        appliance
	state            *applianceState
}

// The values of the label "operation".
const (
	operationAttach    = "attach"
	operationDetach    = "detach"
	operationReconcile = "reconcile"
)

// NewController returns the metrics of a controller. Every series whose labels are known begins at 0: an alert on a
// first increase needs the 0 before it.
func NewController() *Controller {
	m := &Controller{process: newProcess()}
	register := m.register()
	m.calls = newCalls(register)
	m.operations = register.NewHistogramVec(prometheus.HistogramOpts{
		Name: "rds_csi_attachment_operation_duration_seconds", Help: "Attaching, detaching and reconciling one attachment, by result.", Buckets: operationBuckets(),
	}, []string{"operation", "result"})
	m.staleCleared = register.NewCounter(prometheus.CounterOpts{
		Name: "rds_csi_stale_attachments_cleared_total", Help: "VolumeAttachments deleted because their node is proven gone.",
	})
	m.reconcileActions = register.NewCounterVec(prometheus.CounterOpts{
		Name: "rds_csi_reconcile_actions_total", Help: "What the attachment reconciler did, by action.",
	}, []string{"action"})
	m.graceUsed = register.NewCounter(prometheus.CounterOpts{
		Name: "rds_csi_grace_period_used_total", Help: "Volumes handed off to a new node while the old one was still detaching.",
	})
	m.decisions = register.NewCounterVec(prometheus.CounterOpts{
		Name: "rds_csi_publish_decisions_total", Help: "Decisions on requests to publish a volume, by verdict.",
	}, []string{"verdict"})
	m.restored = register.NewCounterVec(prometheus.CounterOpts{
		Name: "rds_csi_volumes_restored_total", Help: "Volumes whose record or export was written again after the appliance had lost it, by reason: went_back (the appliance went back in time), export_lost (the export was off).",
	}, []string{"reason"})
	m.leader = register.NewGauge(prometheus.GaugeOpts{
		Name: "rds_csi_leader", Help: "1 while this process clears stale attachments, 0 while another one does.",
	})
	m.eventsDropped = newEventsDropped(register)
	m.massDeletion = register.NewGauge(prometheus.GaugeOpts{
		Name: "rds_csi_mass_deletion_held", Help: "1 while clearing and take-over are paused because too many nodes vanished at once.",
	})
	m.notBegun = register.NewGauge(prometheus.GaugeOpts{
		Name: "rds_csi_clearing_not_begun", Help: "1 while clearing and take-over haven't begun, because this process hasn't seen all nodes or hasn't reached the appliance yet. After a minute the event ClearingNotBegun says so, too.",
	})
	m.orphans = register.NewGaugeVec(prometheus.GaugeOpts{
		Name: "rds_csi_orphans", Help: "Orphans on the appliance or in Kubernetes, by kind, as of the last audit; 0 where no audit runs.",
	}, []string{"kind"})
	m.failover = newFailover(register)
	m.appliance = newAppliance(register)
	m.state = newApplianceState(m.registry)
	m.startAtZero()
	return m
}

func (m *Controller) startAtZero() {
	for _, operation := range []string{operationAttach, operationDetach, operationReconcile} {
		m.operations.WithLabelValues(operation, resultSuccess)
		m.operations.WithLabelValues(operation, resultError)
	}
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
	m.failover.startAtZero()
	m.appliance.startAtZero()
}

// Gatherer returns what /metrics serves.
func (m *Controller) Gatherer() prometheus.Gatherer { return withClientGo(m.registry) }

// ObserveCall counts a finished CSI call.
func (m *Controller) ObserveCall(method, code string, took time.Duration) {
	m.calls.WithLabelValues(driverName, method, code).Observe(took.Seconds())
	operation := map[string]string{"ControllerPublishVolume": operationAttach, "ControllerUnpublishVolume": operationDetach}[method]
	if operation != "" {
		result := resultError
		if code == "OK" {
			result = resultSuccess
		}
		m.operations.WithLabelValues(operation, result).Observe(took.Seconds())
	}
}

// ObserveReconcile counts the work on one attachment. err is nil if it succeeded.
func (m *Controller) ObserveReconcile(action attach.Action, err error, took time.Duration) {
	m.reconcileActions.WithLabelValues(string(action)).Inc()
	m.operations.WithLabelValues(operationReconcile, resultOf(err)).Observe(took.Seconds())
	if action == attach.ActionClear {
		m.staleCleared.Inc()
	}
}

// CountDecision counts a decision on a publish request.
func (m *Controller) CountDecision(verdict attach.Verdict) {
	m.decisions.WithLabelValues(verdict.String()).Inc()
}

// CountHandOff counts a volume that was handed off while its holder was still detaching.
func (m *Controller) CountHandOff() { m.graceUsed.Inc() }

// CountRestored counts a volume whose record or export was written again after the appliance had lost it.
func (m *Controller) CountRestored(reason attach.RestoreReason) {
	m.restored.WithLabelValues(string(reason)).Inc()
}

// BeginLeading records that this process leads: it clears stale attachments.
func (m *Controller) BeginLeading() { m.leader.Set(1) }

// EndLeading records that this process no longer leads.
func (m *Controller) EndLeading() { m.leader.Set(0) }

// CountEventDropped counts a Kubernetes Event that is lost because too many waited already.
func (m *Controller) CountEventDropped() { m.eventsDropped.Inc() }

// BeginMassDeletion records that clearing and take-over are paused, until EndMassDeletion.
func (m *Controller) BeginMassDeletion() { m.massDeletion.Set(1) }

// EndMassDeletion records that clearing and take-over are no longer paused.
func (m *Controller) EndMassDeletion() { m.massDeletion.Set(0) }

// AwaitBegin records that clearing and take-over haven't begun, until Begin.
func (m *Controller) AwaitBegin() { m.notBegun.Set(1) }

// Begin records that clearing and take-over have begun.
func (m *Controller) Begin() { m.notBegun.Set(0) }

// SetOrphans records the number of orphans of a kind that the last audit found.
func (m *Controller) SetOrphans(kind attach.OrphanKind, count int) {
	m.orphans.WithLabelValues(string(kind)).Set(float64(count))
}
