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

// reconnectLimit bounds one attempt to connect a lost volume again; the next one comes when kubelet looks again.
const reconnectLimit = 30 * time.Second

// Observer counts what happens to the connections of staged volumes. It must not block, and is called concurrently.
type Observer interface {
	// CountConnectionLost counts a staged volume that was found without a connection, once each time it is lost.
	CountConnectionLost()
	// CountReconnect counts an attempt to connect such a volume again; err is what it failed with, or nil.
	CountReconnect(err error)
}

// stagedVolumes are the volumes that this process staged, and how to reach them again. A new process doesn't know them: a
// volume that lost its connection stays without one until it is published again. The zero value is ready for use.
type stagedVolumes struct {
	mu      sync.Mutex
	targets map[rds.VolumeID]nvme.Target
	lost    map[rds.VolumeID]bool
}

// add notes where a volume was just reached.
func (s *stagedVolumes) add(id rds.VolumeID, target nvme.Target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.targets == nil {
		s.targets = map[rds.VolumeID]nvme.Target{}
	}
	s.targets[id] = target
	delete(s.lost, id)
}

func (s *stagedVolumes) remove(id rds.VolumeID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.targets, id)
	delete(s.lost, id)
}

// target returns where the volume was reached last.
func (s *stagedVolumes) target(id rds.VolumeID) (nvme.Target, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	target, known := s.targets[id]
	return target, known
}

// markLost notes that a volume's connection is gone, and reports whether that is new.
func (s *stagedVolumes) markLost(id rds.VolumeID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost[id] {
		return false
	}
	if s.lost == nil {
		s.lost = map[rds.VolumeID]bool{}
	}
	s.lost[id] = true
	return true
}

// reconnect connects a volume again whose connection the kernel gave up, in the background. It touches no mount: what is
// mounted shows a dead device for good, and only staging or publishing again mends that. But the device is there by then,
// and the log tells a target that refuses from one that is away. A volume that was given to another node meanwhile has
// another subsystem NQN, so the target refuses this one.
func (n *Service) reconnect(ctx context.Context, id rds.VolumeID) {
	unlock, err := n.locks.Lock(id.String())
	if err != nil {
		return // another operation connects it, or takes it away
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
			klog.FromContext(ctx).Error(err, "A staged volume has no connection, and can't be connected again now", "subsystem", target.SubsystemNQN)
			return
		}
		n.staged.add(id, target)
		klog.FromContext(ctx).Info("Connected a lost volume again; pods that use it must be started again", "subsystem", target.SubsystemNQN)
	}()
}
