package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"k8s.io/klog/v2"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/node/host"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

const (
	// reportTime is how long after its unstaging a volume may still count as in use: kubelet reports every 10 seconds what is
	// (nodeStatusUpdateFrequency). While a node is shut down, kubelet lives as long as its pods, this one among them. If it
	// ends before that report, Kubernetes waits six minutes before the volume is detached.
	reportTime = 12 * time.Second
	// settleTime is how long a process that uses a volume may take to end. When kubelet ends this process because the node is
	// shut down, it has just killed the pods that didn't end by themselves.
	settleTime = 5 * time.Second
	// drainPause is the time between two looks at who uses the volumes.
	drainPause = 500 * time.Millisecond
)

// lastTime is the time when something happened last. It is safe for concurrent use.
type lastTime struct{ at atomic.Pointer[time.Time] }

func (l *lastTime) now() {
	now := time.Now()
	l.at.Store(&now)
}

// plus returns the time that long after it happened last; the zero time if it never did.
func (l *lastTime) plus(d time.Duration) time.Time {
	if at := l.at.Load(); at != nil {
		return at.Add(d)
	}
	return time.Time{}
}

// Drain returns once nobody needs this process any more: each connected volume is used by a process, or has been unstaged and
// kubelet has had the time to report that. A volume that no process uses is about to be unstaged, since its pod has ended.
// Volumes that are staged from now on don't count. If ctx ends first, the error names the volumes that are left.
//
// That tells the end of a node from an update of this driver without a question to the API server: in an update, pods go on
// using their volumes.
func (n *Service) Drain(ctx context.Context) error {
	var staged []string
	settled, known, said := time.Now(), false, ""
	for {
		connected, err := n.connectedDevices(ctx)
		if err == nil && !known {
			known = true
			for _, subsystemNQN := range connected {
				staged = append(staged, subsystemNQN)
				settled = time.Now().Add(settleTime)
			}
		}
		var leaving []string
		if err == nil {
			leaving, err = n.unused(ctx, connected, staged)
		}
		if err == nil && len(leaving) == 0 && !time.Now().Before(settled) && !time.Now().Before(n.unstaged.plus(reportTime)) {
			return nil
		}
		if waitsFor := fmt.Sprint(leaving, err); waitsFor != said {
			klog.FromContext(ctx).Info("Serving on, until kubelet has unstaged and reported the volumes that no process uses", "unused", leaving, "err", err)
			said = waitsFor
		}
		select {
		case <-ctx.Done():
			return leftError(leaving, err)
		case <-time.After(drainPause):
		}
	}
}

// leftError says what is left when the time is over.
func leftError(leaving []string, unknown error) error {
	switch {
	case unknown != nil && !errors.Is(unknown, context.DeadlineExceeded):
		return fmt.Errorf("it isn't known which volumes are still to be unstaged: %w", unknown)
	case len(leaving) > 0:
		return fmt.Errorf("no process uses these volumes, and kubelet hasn't unstaged them; they stay attached until it does: %s", strings.Join(leaving, ", "))
	default:
		return nil
	}
}

// connectedDevices returns the subsystem NQNs of the connected volumes, keyed by device.
func (n *Service) connectedDevices(ctx context.Context) (map[host.DeviceNumber]string, error) {
	connections, err := n.connector.Connections(ctx, rds.SubsystemsPrefix())
	if err != nil {
		return nil, fmt.Errorf("list connections: %w", err)
	}
	byDevice, err := n.byDevice(connections)
	if err != nil {
		return nil, err
	}
	devices := map[host.DeviceNumber]string{}
	for number, connection := range byDevice {
		devices[number] = connection.SubsystemNQN
	}
	return devices, nil
}

// unused returns those of the staged subsystems that are connected and that no process uses, sorted.
func (n *Service) unused(ctx context.Context, connected map[host.DeviceNumber]string, staged []string) ([]string, error) {
	var devices []host.DeviceNumber
	for device, subsystemNQN := range connected {
		if slices.Contains(staged, subsystemNQN) {
			devices = append(devices, device)
		}
	}
	if len(devices) == 0 {
		return nil, nil
	}
	used, err := n.host.Used(ctx, devices)
	if err != nil {
		return nil, err
	}
	var unused []string
	for _, device := range devices {
		if !used[device] {
			unused = append(unused, connected[device])
		}
	}
	slices.Sort(unused)
	return unused, nil
}
