package csi

import (
	"context"
	"sync"
	"time"

	"k8s.io/klog/v2"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

// rejoinLimit bounds one attempt to connect a lost volume again; the next one comes when kubelet looks again.
const rejoinLimit = 30 * time.Second

// NodeObserver is told what becomes of the connections of staged volumes. It must not block, and is called concurrently.
type NodeObserver interface {
	// CountConnectionLost counts a staged volume that was found without a connection, once each time it is lost.
	CountConnectionLost()
	// CountReconnect counts an attempt to connect such a volume again; err is what it failed with, or nil.
	CountReconnect(err error)
}

// memory is what this process knows of the volumes that it staged: how to reach them again. It is lost when the process
// ends; then a lost volume stays so until it is published again. The zero value is ready for use.
type memory struct {
	mu      sync.Mutex
	targets map[rds.VolumeID]nvme.Target
	lost    map[rds.VolumeID]bool
}

// keep notes where a volume was just reached.
func (m *memory) keep(volume rds.VolumeID, target nvme.Target) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.targets == nil {
		m.targets = map[rds.VolumeID]nvme.Target{}
	}
	m.targets[volume] = target
	delete(m.lost, volume)
}

func (m *memory) forget(volume rds.VolumeID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.targets, volume)
	delete(m.lost, volume)
}

// target gives where the volume was reached last.
func (m *memory) target(volume rds.VolumeID) (nvme.Target, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	target, known := m.targets[volume]
	return target, known
}

// lose notes that a volume's connection is gone and reports whether that is news.
func (m *memory) lose(volume rds.VolumeID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.lost[volume] {
		return false
	}
	if m.lost == nil {
		m.lost = map[rds.VolumeID]bool{}
	}
	m.lost[volume] = true
	return true
}

// rejoin connects a volume again whose connection the kernel gave up, in the background. It touches no mount: what is
// mounted shows a dead device for good, and only staging or publishing again mends that. But then the device is there,
// and meanwhile a target that refuses is told from one that is away. A volume that was given to another node meanwhile
// has another subsystem NQN, so this one is refused.
func (n *Node) rejoin(ctx context.Context, volume rds.VolumeID) {
	unlock, err := n.locks.lock(volume.String())
	if err != nil {
		return // whoever is at it connects it, or takes it away
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rejoinLimit)
	go func() {
		defer cancel()
		defer unlock()
		target, known := n.memory.target(volume)
		if !known {
			return // unstaged just now
		}
		err := recovered(ctx, func() error { return n.connect(ctx, target) })
		n.observer.CountReconnect(err)
		if err != nil {
			klog.FromContext(ctx).Error(err, "A staged volume has no connection, and can't be connected again now", "subsystem", target.SubsystemNQN)
			return
		}
		n.memory.keep(volume, target)
		klog.FromContext(ctx).Info("Connected a lost volume again; pods that use it must be started again", "subsystem", target.SubsystemNQN)
	}()
}
