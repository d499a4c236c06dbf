package attach

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/klog/v2"
)

// auditTimeout bounds the looks at appliance and API server of one audit, and removeTimeout the removal of one orphan.
const (
	auditTimeout  = 2 * time.Minute
	removeTimeout = time.Minute
)

// AuditConfig is how an Auditor works.
type AuditConfig struct {
	Scope AuditScope
	// Every is how often it looks; more than 0.
	Every time.Duration
	// Remove has orphans removed that are proven to be such; without it they are reported.
	Remove bool
	// Grace is how far apart two audits must be that both found an orphan, before it is removed; more than 0.
	Grace time.Duration
	// Now is the clock; nil stands for time.Now.
	Now func() time.Time
}

// AuditObserver is called with what an Auditor finds. Its functions must be set, and must not block.
type AuditObserver struct {
	// Count is called after each audit with how many orphans of each kind there are.
	Count func(kind OrphanKind, orphans int)
	// Note is called once for each orphan that is found.
	Note func(Note)
	// Paused reports whether so many nodes vanished at once that nothing may be removed: what Kubernetes has may be an old
	// copy.
	Paused func() bool
}

// Auditor compares what the appliance has with what Kubernetes has, over and over, and reports what doesn't pair. If it
// is told to, it removes disks and releases holders that are proven to be nobody's. One process at a time runs it.
type Auditor struct {
	config    AuditConfig
	appliance AuditAppliance
	cluster   AuditCluster
	observer  AuditObserver
	// firstSeen is when each orphan of the last audit was found first, without a break since.
	firstSeen map[Orphan]time.Time
}

// NewAuditor checks the configuration. Nothing happens before Run.
func NewAuditor(config AuditConfig, appliance AuditAppliance, cluster AuditCluster, observer AuditObserver) (*Auditor, error) {
	if config.Every <= 0 {
		return nil, fmt.Errorf("audit interval %s: want more than 0", config.Every)
	}
	if config.Grace <= 0 {
		return nil, fmt.Errorf("orphan grace period %s: want more than 0", config.Grace)
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	return &Auditor{config: config, appliance: appliance, cluster: cluster, observer: observer}, nil
}

// Run audits until ctx ends. It may be called again after that, but not while it runs.
func (a *Auditor) Run(ctx context.Context) error {
	// Somebody else may have run in between: what was seen then isn't known, so nothing counts as seen twice.
	a.firstSeen = nil
	defer a.count(nil)
	switch err := a.cluster.WaitForSync(ctx); {
	case ctx.Err() != nil:
		return nil
	case err != nil:
		return fmt.Errorf("wait for the caches: %w", err)
	}
	again := time.NewTicker(a.config.Every)
	defer again.Stop()
	for {
		if err := a.Audit(ctx); err != nil && ctx.Err() == nil {
			klog.FromContext(ctx).Error(err, "The audit is incomplete; trying again", "every", a.config.Every)
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// Audit looks once, reports, and removes what is due if that is switched on. On an error in looking, nothing is concluded
// and what was found before stands. It must not be called twice at a time.
func (a *Auditor) Audit(ctx context.Context) error {
	started := a.config.Now()
	findings, err := a.look(ctx)
	if err != nil {
		return err
	}
	logger := klog.FromContext(ctx)
	for _, skipped := range findings.Skipped {
		logger.V(4).Info("Not judged whether a PersistentVolume has its disk", "pv", skipped.PV, "reason", skipped.Reason)
	}
	seen, now := map[Orphan]time.Time{}, a.config.Now()
	for _, orphan := range findings.Orphans {
		first, known := a.firstSeen[orphan]
		if !known {
			first = now
			logger.Info("Found an orphan", "kind", orphan.Kind, "volume", orphan.Volume, "pv", orphan.PV, "node", orphan.Node.Name)
			a.observer.Note(orphan.Note())
		}
		seen[orphan] = first
	}
	a.firstSeen = seen
	err = a.removeDue(ctx, findings.Orphans, started)
	a.count(a.firstSeen)
	return err
}

// look keeps the order that the findings rest on: the cache, then the appliance, then the API server.
func (a *Auditor) look(ctx context.Context) (Findings, error) {
	ctx, cancel := context.WithTimeout(ctx, auditTimeout)
	defer cancel()
	before := a.cluster.CachedClaims()
	inventory, err := a.appliance.Inventory(ctx)
	if err != nil {
		return Findings{}, fmt.Errorf("look for orphans: %w", err)
	}
	after, err := a.cluster.LiveClaims(ctx)
	if err != nil {
		return Findings{}, fmt.Errorf("look for orphans: %w", err)
	}
	return a.config.Scope.Audit(before, inventory, after), nil
}

func (a *Auditor) count(orphans map[Orphan]time.Time) {
	counts := map[OrphanKind]int{}
	for orphan := range orphans {
		counts[orphan.Kind]++
	}
	for _, kind := range OrphanKinds() {
		a.observer.Count(kind, counts[kind])
	}
}

// removeDue removes what was found by an audit that ended a grace before this one started, and by every one since.
func (a *Auditor) removeDue(ctx context.Context, orphans []Orphan, started time.Time) error {
	if !a.config.Remove {
		return nil
	}
	if a.observer.Paused() {
		klog.FromContext(ctx).Info("Removing no orphans: too many nodes vanished at once")
		return nil
	}
	var failed []error
	for _, orphan := range orphans {
		if ctx.Err() != nil || started.Sub(a.firstSeen[orphan]) < a.config.Grace {
			continue
		}
		removed, err := a.remove(ctx, orphan)
		if removed && err == nil {
			klog.FromContext(ctx).Info("Removed an orphan", "kind", orphan.Kind, "volume", orphan.Volume, "pv", orphan.PV,
				"node", orphan.Node.Name, "firstSeen", a.firstSeen[orphan])
			delete(a.firstSeen, orphan)
		}
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}
