package attach

import (
	"cmp"
	"context"
	"fmt"
	"path"

	"k8s.io/klog/v2"
)

// remove removes one orphan that is due, unless a last check speaks against it. It returns false without an error if
// the orphan has to stay for now. Files and PersistentVolumes always stay.
func (a *Auditor) remove(ctx context.Context, orphan Orphan) (removed bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, removeTimeout)
	defer cancel()
	switch orphan.Kind {
	case OrphanDisk:
		return a.removeDisk(ctx, orphan)
	case OrphanHolder:
		return a.revoke(ctx, orphan)
	default:
		// A file may hold somebody's data, and somebody may want a lost volume back: people decide.
		return false, nil
	}
}

// removeDisk deletes the volume. Earlier removals of the same audit took time, so a PersistentVolume may have appeared
// since the API server was asked: the cache is checked again.
func (a *Auditor) removeDisk(ctx context.Context, orphan Orphan) (removed bool, err error) {
	logger := klog.FromContext(ctx).WithValues("volume", orphan.Volume)
	switch {
	case orphan.Held:
		logger.Info("Left a disk without a PersistentVolume alone: it has holders")
		return false, nil
	case handleTokens([]Claims{a.cluster.CachedClaims()})[path.Base(orphan.Volume)]:
		logger.Info("Left a disk alone: it has a PersistentVolume by now")
		return false, nil
	}
	if err := a.appliance.RemoveVolume(ctx, orphan.Volume); err != nil {
		return false, fmt.Errorf("remove disk %s, which has no PersistentVolume: %w", orphan.Volume, err)
	}
	return true, nil
}

// revoke revokes a holder's access. It does so only if the API server itself confirms that the holder has no attachment
// and if the node doesn't report the volume as in use: a node that may be writing is never cut off.
func (a *Auditor) revoke(ctx context.Context, orphan Orphan) (removed bool, err error) {
	logger := klog.FromContext(ctx).WithValues("volume", orphan.Volume, "node", orphan.Node.Name)
	attachment := a.cluster.LiveAttachment(ctx, AttachmentName(orphan.Volume, a.config.Scope.Driver, orphan.Node.Name))
	node := a.cluster.LiveNode(ctx, orphan.Node.Name)
	switch err := cmp.Or(attachment.Err, node.Err); {
	case err != nil:
		return false, fmt.Errorf("revoke access of holder %s to volume %s: %w", orphan.Node, orphan.Volume, err)
	case attachment.Found:
		logger.Info("Left a holder alone: it has a VolumeAttachment by now")
		return false, nil
	case node.Found && node.Value.Uses(orphan.Volume):
		logger.Info("Left a holder without a VolumeAttachment alone: its node reports the volume as in use")
		return false, nil
	}
	if err := a.appliance.RevokeAccess(ctx, orphan.Volume, orphan.Node); err != nil {
		return false, fmt.Errorf("revoke access of holder %s to volume %s, which has no VolumeAttachment: %w", orphan.Node, orphan.Volume, err)
	}
	return true, nil
}
