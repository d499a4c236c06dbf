package attach

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/klog/v2"
)

// auditTimeout bounds the reads of one audit. removeTimeout bounds the removal of one orphan.
const (
	auditTimeout  = 2 * time.Minute
	removeTimeout = time.Minute
)

// AuditConfig configures an Auditor.
type AuditConfig struct {
	Scope AuditScope
	// Every is the interval between audits; more than 0.
	Every time.Duration
	// Remove has proven orphans removed. Without it, they are only reported.
	Remove bool
	// Grace is how long audits must have found an orphan before it is removed; more than 0.
	Grace time.Duration
	// Now is the clock; nil stands for time.Now.
	Now func() time.Time
}

// AuditObserver is called with what an Auditor finds. Its functions must be set, and must not block.
type AuditObserver struct {
	// Count is called after each audit with the number of orphans of each kind, and with 0 when Run ends.
	Count func(kind OrphanKind, orphans int)
	// Note is called once for each new orphan.
	Note func(Note)
	// Paused reports whether too many nodes vanished at once. Nothing is removed then, since what Kubernetes has may come
	// from an old backup.
	Paused func() bool
}

// Auditor compares the appliance with Kubernetes at an interval and reports orphans. If it is configured to, it also
// removes proven orphans: it deletes disks and revokes access of holders. Only one process may run it at a time. Its
// methods must not be called concurrently.
type Auditor struct {
	config    AuditConfig
	appliance AuditAppliance
	cluster   AuditCluster
	observer  AuditObserver
	// firstSeen has the orphans of the last audit, each with the time since when every audit has found it.
	firstSeen map[Orphan]time.Time
}

// NewAuditor returns an auditor, or an error if the configuration is invalid. Nothing happens before Run.
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

// Run audits until ctx ends, and then returns nil. It may be called again after it has returned. It returns an error if
// the caches can't be filled.
func (a *Auditor) Run(ctx context.Context) error {
	// Another process may have audited since the last run. What it found isn't known, so every orphan counts as new.
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

// Audit does one audit: it compares, reports, and removes what is due if that is switched on. If the appliance or the
// API server can't be read, it returns an error and the findings of the last audit stand.
func (a *Auditor) Audit(ctx context.Context) error {
	started := a.config.Now()
	findings, err := a.compare(ctx)
	if err != nil {
		return err
	}
	logger := klog.FromContext(ctx)
	for _, skipped := range findings.Skipped {
		logger.V(4).Info("Skipped a PersistentVolume: it can't be judged whether it has its disk", "pv", skipped.PV, "reason", skipped.Reason)
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

// compare reads and compares. The findings rely on this order: first the cache, then the appliance, then the API
// server.
func (a *Auditor) compare(ctx context.Context) (Findings, error) {
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

// count reports the number of orphans of each kind.
func (a *Auditor) count(orphans map[Orphan]time.Time) {
	counts := map[OrphanKind]int{}
	for orphan := range orphans {
		counts[orphan.Kind]++
	}
	for _, kind := range OrphanKinds() {
		a.observer.Count(kind, counts[kind])
	}
}

// removeDue removes the orphans that every audit has found for the grace period. started is when this audit began.
func (a *Auditor) removeDue(ctx context.Context, orphans []Orphan, started time.Time) error {
	if !a.config.Remove {
		return nil
	}
	if a.observer.Paused() {
		klog.FromContext(ctx).Info("Removing no orphans: clearing and take-over are paused or haven't begun")
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
