package attach

import (
	"cmp"
	"context"
	"fmt"
	"path"

	"k8s.io/klog/v2"
)

// remove removes one orphan that is due, if it is of a kind that is ever removed and the last proof holds. False without
// an error means that it has to stay for now.
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

// removeDisk deletes the volume. Removals take time, and somebody may have claimed the disk since the API server was asked.
func (a *Auditor) removeDisk(ctx context.Context, orphan Orphan) (removed bool, err error) {
	logger := klog.FromContext(ctx).WithValues("volume", orphan.Volume)
	switch {
	case orphan.Held:
		logger.Info("Left a disk without PersistentVolume alone: somebody holds it")
		return false, nil
	case wordsOf([]Claims{a.cluster.CachedClaims()})[path.Base(orphan.Volume)]:
		logger.Info("Left a disk alone: it has got a PersistentVolume by now")
		return false, nil
	}
	if err := a.appliance.RemoveVolume(ctx, orphan.Volume); err != nil {
		return false, fmt.Errorf("remove disk %s, which has no PersistentVolume: %w", orphan.Volume, err)
	}
	return true, nil
}

// revoke takes a holder's access away once the API server itself says that it has no attachment, and unless its node
// says that it uses the volume: nobody who may be writing is cut off.
func (a *Auditor) revoke(ctx context.Context, orphan Orphan) (removed bool, err error) {
	logger := klog.FromContext(ctx).WithValues("volume", orphan.Volume, "node", orphan.Node.Name)
	attachment := a.cluster.LiveAttachment(ctx, AttachmentName(orphan.Volume, a.config.Scope.Driver, orphan.Node.Name))
	node := a.cluster.LiveNode(ctx, orphan.Node.Name)
	switch err := cmp.Or(attachment.Err, node.Err); {
	case err != nil:
		return false, fmt.Errorf("revoke access of holder %s to volume %s: %w", orphan.Node, orphan.Volume, err)
	case attachment.Found:
		logger.Info("Left a holder alone: it has an attachment by now")
		return false, nil
	case node.Found && node.Value.Uses(orphan.Volume):
		logger.Info("Left a holder without attachment alone: its node reports the volume as in use")
		return false, nil
	}
	if err := a.appliance.RevokeAccess(ctx, orphan.Volume, orphan.Node); err != nil {
		return false, fmt.Errorf("release holder %s of volume %s, which has no VolumeAttachment: %w", orphan.Node, orphan.Volume, err)
	}
	return true, nil
}
