package metrics

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
)

// failover has the metrics of attachments that are stale or detaching, and of failovers.
type failover struct {
	waiting *waiting
	phases  *prometheus.HistogramVec
}

// waiting is what hasn't ended yet. Ages are computed when they are scraped, by the clock of this process.
type waiting struct {
	mu         sync.Mutex
	unfinished attach.Unfinished
}

func newFailover(register promauto.Factory) failover {
	waiting := &waiting{}
	register.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "rds_csi_stale_attachments", Help: "VolumeAttachments whose node is proven gone and that aren't deleted yet: pods on the node still use the volume, clearing is paused or hasn't begun, or a request failed. 0 where this process doesn't lead.",
	}, func() float64 { return float64(waiting.now().Stale) })
	register.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "rds_csi_stale_attachment_oldest_seconds", Help: "For how long the oldest of them has been known to be stale; 0 if there is none.",
	}, func() float64 { return age(waiting.now().StaleSince) })
	register.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "rds_csi_detaching_attachments_oldest_seconds", Help: "For how long the oldest VolumeAttachment that is being deleted has been seen so; 0 if there is none, or where this process doesn't lead.",
	}, func() float64 { return age(waiting.now().DetachingSince) })
	return failover{
		waiting: waiting,
		phases: register.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "rds_csi_failover_phase_seconds",
			Help:    "How long after the deletion of a Node, as this process saw it, each stale VolumeAttachment that it cleared had come so far: pods_gone (no pod on the node used the volume), cleared (it was deleted), fenced (it was gone, before which external-attacher has access revoked), attached (the volume was attached to another node).",
			Buckets: []float64{1, 5, 10, 20, 30, 45, 60, 75, 90, 120, 180, 300, 600, 1800, 3600},
		}, []string{"phase"}),
	}
}

func (f failover) startAtZero() {
	for _, phase := range attach.Phases() {
		f.phases.WithLabelValues(string(phase))
	}
}

func (w *waiting) now() attach.Unfinished {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.unfinished
}

// age returns the seconds since then, or 0 if there is no then.
func age(since time.Time) float64 {
	if since.IsZero() {
		return 0
	}
	return time.Since(since).Seconds()
}

// SetUnfinished records which attachments are stale or detaching.
func (m *Controller) SetUnfinished(unfinished attach.Unfinished) {
	m.failover.waiting.mu.Lock()
	defer m.failover.waiting.mu.Unlock()
	m.failover.waiting.unfinished = unfinished
}

// ObservePhase counts a phase of a failover that is over.
func (m *Controller) ObservePhase(phase attach.Phase, took time.Duration) {
	m.failover.phases.WithLabelValues(string(phase)).Observe(took.Seconds())
}
