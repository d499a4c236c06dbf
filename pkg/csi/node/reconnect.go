package node

import (
	"context"
	"sync"
	"time"

	"k8s.io/klog/v2"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

// reconnectLimit bounds one attempt to reconnect a volume. The next call for its stats or its health starts another
// one.
const reconnectLimit = 30 * time.Second

// Observer counts what happens to the connections of staged volumes. It must not block, and is called concurrently.
type Observer interface {
	// CountConnectionLost counts a staged volume that has lost its connection, once each time.
	CountConnectionLost()
	// CountReconnect counts an attempt to reconnect such a volume; err is nil if it succeeded.
	CountReconnect(err error)
}

// stagedVolumes are the volumes that this process staged, and their targets. A new process knows none: a volume that
// loses its connection then stays without one until it is published again. It is safe for concurrent use.
type stagedVolumes struct {
	mu      sync.Mutex
	targets map[rds.VolumeID]nvme.Target
	lost    map[rds.VolumeID]bool
}

// add records the target that a volume is connected to now.
func (s *stagedVolumes) add(id rds.VolumeID, target nvme.Target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.targets[id] = target
	delete(s.lost, id)
}

func (s *stagedVolumes) remove(id rds.VolumeID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.targets, id)
	delete(s.lost, id)
}

// target returns the target that the volume was connected to last. It returns false if this process didn't stage it.
func (s *stagedVolumes) target(id rds.VolumeID) (nvme.Target, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	target, known := s.targets[id]
	return target, known
}

// markLost records that a volume has lost its connection, and reports whether that is new.
func (s *stagedVolumes) markLost(id rds.VolumeID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.lost[id]
	s.lost[id] = true
	return !known
}

// reconnect connects a volume in the background whose connection the kernel gave up. It touches no mount. A mount of
// the dead device stays dead until the volume is staged or published again, but by then the new device is there. The
// log also shows whether the target refuses or is away. It refuses if the volume was published to another node
// meanwhile, because the subsystem NQN has changed then.
func (n *Service) reconnect(ctx context.Context, id rds.VolumeID) {
	unlock, err := n.changes.Lock(id.String())
	if err != nil {
		return // another operation connects or disconnects the volume
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), reconnectLimit)
	go func() {
		defer cancel()
		defer unlock()
		target, known := n.staged.target(id)
		if !known {
			return // unstaged just now
		}
		err := failure.Recover(ctx, func() error { return n.connect(ctx, target) })
		n.observer.CountReconnect(err)
		if err != nil {
			klog.FromContext(ctx).Error(err, "A staged volume has no connection, and can't be reconnected now", "subsystem", target.SubsystemNQN)
			return
		}
		n.staged.add(id, target)
		klog.FromContext(ctx).Info("Reconnected a staged volume; pods that use it must be restarted", "subsystem", target.SubsystemNQN)
	}()
}
