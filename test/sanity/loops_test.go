package sanity

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"sync"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
)

// loops is a connector that makes a loop device of an exported disk's backing file.
type loops struct {
	backend  *backend
	mu       sync.Mutex
	attached map[string]string // loop devices by subsystem NQN
}

func (l *loops) Connect(ctx context.Context, target nvme.Target) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.attached[target.SubsystemNQN] != "" {
		return nil
	}
	for _, disk := range l.backend.simulator.Disks() {
		if disk.Exported && disk.SubsystemNQN == target.SubsystemNQN {
			device, err := losetup(ctx, "--find", "--show", disk.File)
			if err == nil {
				l.attached[target.SubsystemNQN] = device
			}
			return err
		}
	}
	return fmt.Errorf("%w: %s", nvme.ErrRefused, target.SubsystemNQN)
}

func (l *loops) Device(_ context.Context, nqn string) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.attached[nqn], nil
}

func (l *loops) Connections(_ context.Context, nqnPrefix string) ([]nvme.Connection, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var connections []nvme.Connection
	for nqn, device := range l.attached {
		if strings.HasPrefix(nqn, nqnPrefix) {
			connections = append(connections, nvme.Connection{SubsystemNQN: nqn, Device: device, State: "live"})
		}
	}
	return connections, nil
}

func (l *loops) Rescan(ctx context.Context, nqn string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := losetup(ctx, "--set-capacity", l.attached[nqn])
	return err
}

func (l *loops) Disconnect(ctx context.Context, nqn string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	device := l.attached[nqn]
	if device == "" {
		return nil
	}
	delete(l.attached, nqn)
	_, err := losetup(ctx, "--detach", device)
	return err
}

func losetup(ctx context.Context, arguments ...string) (string, error) {
	output, err := exec.CommandContext(ctx, "losetup", arguments...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("losetup %v: %w: %s", arguments, err, output)
	}
	return strings.TrimSpace(string(output)), nil
}
