package app

import (
	"context"

	"golang.org/x/sync/errgroup"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/controller"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/informers"
)

// newAuditor builds what compares appliance and cluster, at the pace at which attachments are looked at again. While paused
// returns true it removes nothing.
func newAuditor(options *ControllerOptions, appliance attach.AuditAppliance, cluster *informers.Cluster, observer attach.AuditObserver) (*attach.Auditor, error) {
	config := attach.AuditConfig{
		Scope: controller.AuditScope(csi.DriverName), Every: options.reconcileEvery, Remove: options.removeOrphans, Grace: options.orphanGrace,
	}
	return attach.NewAuditor(config, appliance, cluster, observer)
}

// leadersWork is what only the leader does: it clears stale attachments, and audits meanwhile.
type leadersWork struct {
	reconciler *attach.Reconciler
	auditor    *attach.Auditor
	// auditing is full while the auditor runs.
	auditing chan struct{}
}

func newLeadersWork(reconciler *attach.Reconciler, auditor *attach.Auditor) *leadersWork {
	return &leadersWork{reconciler: reconciler, auditor: auditor, auditing: make(chan struct{}, 1)}
}

// Run works until ctx ends or Stop is called. It returns when both have ended.
func (w *leadersWork) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	ctx, cancel := context.WithCancel(ctx)
	group.Go(func() error {
		defer cancel()
		return w.reconciler.Run(ctx)
	})
	group.Go(func() error {
		w.auditing <- struct{}{}
		defer func() { <-w.auditing }()
		return w.auditor.Run(ctx)
	})
	return group.Wait()
}

// Stop ends Run and returns when both have ended.
func (w *leadersWork) Stop() {
	w.reconciler.Stop()
	w.auditing <- struct{}{}
	<-w.auditing
}
