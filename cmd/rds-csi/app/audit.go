package app

import (
	"context"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/controller"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/informers"
)

// newAuditor returns the auditor that the flags configure. It audits at the interval of the attachment reconciler's
// resync.
func newAuditor(options *ControllerOptions, appliance attach.AuditAppliance, cluster *informers.Cluster, observer attach.AuditObserver) (*attach.Auditor, error) {
	config := attach.AuditConfig{
		Scope: controller.AuditScope(csi.DriverName), Every: options.reconcileEvery, Remove: options.removeOrphans, Grace: options.orphanGrace,
	}
	return attach.NewAuditor(config, appliance, cluster, observer)
}

// leaderTasks is what only the leader runs: the reconciler and the auditor.
type leaderTasks struct {
	reconciler *attach.Reconciler
	auditor    *stoppable
	// end ends the latest run. It is nil before the first one.
	end atomic.Pointer[context.CancelFunc]
}

func newLeaderTasks(reconciler *attach.Reconciler, auditor *attach.Auditor) *leaderTasks {
	return &leaderTasks{reconciler: reconciler, auditor: newStoppable(auditor.Run)}
}

// Run runs both until ctx ends, Stop is called, or one of them fails. It returns when both have ended.
func (w *leaderTasks) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	ctx, cancel := context.WithCancel(ctx)
	w.end.Store(&cancel)
	group.Go(func() error {
		defer cancel()
		return w.reconciler.Run(ctx)
	})
	group.Go(func() error { return w.auditor.Run(ctx) })
	return group.Wait()
}

// Stop ends Run and returns when both have ended.
func (w *leaderTasks) Stop() {
	// One of the two may not have begun yet, and then ends as soon as it does.
	if end := w.end.Load(); end != nil {
		(*end)()
	}
	w.reconciler.Stop()
	w.auditor.Stop()
}
