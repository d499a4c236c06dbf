package kernel

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/export"
)

// root is where configfs shows the kernel's target.
const root = "/sys/kernel/config/nvmet"

// nothing is a subsystem without a namespace: nvmet listens at a port only
// while the port has a subsystem.
const nothing = "nqn.2026-11.io.srvlab.rds-sim:nothing"

// ErrTaken says that the kernel's target has a port of that number already.
var ErrTaken = errors.New("the port exists already")

// Target is one port of the kernel's NVMe/TCP target; it is an
// [export.Kernel]. It keeps no state but the kernel's, and must be closed.
type Target struct {
	port   string // its folder
	failed func(error)
}

// Open makes a port that listens at the address. Later failures, of which each
// leaves the target in disagreement with the simulator, are told to failed,
// which must not call the simulator.
func Open(address netip.AddrPort, failed func(error)) (*Target, error) {
	number := strconv.Itoa(int(address.Port()))
	t := &Target{port: filepath.Join(root, "ports", number), failed: failed}
	if err := os.Mkdir(t.port, 0o750); errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("%w: %s: if a simulator that was killed left it, remove its subsystems and it", ErrTaken, t.port)
	} else if err != nil {
		return nil, fmt.Errorf("make a port of the kernel's target (load the module nvmet-tcp, mount configfs, be root): %w", err)
	}
	family := "ipv4"
	if address.Addr().Is6() {
		family = "ipv6"
	}
	err := inOrder(
		put(t.port, "addr_trtype", "tcp"), put(t.port, "addr_adrfam", family),
		put(t.port, "addr_traddr", address.Addr().String()), put(t.port, "addr_trsvcid", number),
		t.listen,
	)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen at %s: %w", address, err), t.Close())
	}
	return t, nil
}

// Close takes everything down that the target made.
func (t *Target) Close() error { return errors.Join(t.lose(), os.Remove(t.port)) }

// Publish implements [export.Kernel].
func (t *Target) Publish(s export.Subsystem) {
	err := publish(s)
	if err == nil {
		err = t.link(s.NQN)
	}
	if err != nil {
		t.failed(errors.Join(fmt.Errorf("publish %s: %w", s.NQN, err), t.withdraw(s.NQN)))
	}
}

// Update implements [export.Kernel].
func (t *Target) Update(s export.Subsystem) {
	if err := inOrder(allow(s), put(folder(s.NQN), "namespaces/1/revalidate_size", "1")); err != nil {
		t.failed(fmt.Errorf("update %s: %w", s.NQN, err))
	}
}

// Withdraw implements [export.Kernel].
func (t *Target) Withdraw(s export.Subsystem) {
	if err := t.withdraw(s.NQN); err != nil {
		t.failed(fmt.Errorf("withdraw %s: %w", s.NQN, err))
	}
}

// Lose implements [export.Kernel].
func (t *Target) Lose() {
	if err := t.lose(); err != nil {
		t.failed(fmt.Errorf("take the target down: %w", err))
	}
}

// Restore implements [export.Kernel].
func (t *Target) Restore() {
	if err := t.listen(); err != nil {
		t.failed(fmt.Errorf("bring the target back: %w", err))
	}
}

func (t *Target) listen() error {
	if err := os.Mkdir(folder(nothing), 0o750); errors.Is(err, os.ErrExist) {
		return nil
	} else if err != nil {
		return err
	}
	return t.link(nothing)
}

// link makes a subsystem reachable.
func (t *Target) link(nqn string) error {
	return os.Symlink(folder(nqn), filepath.Join(t.port, "subsystems", nqn))
}

// withdraw takes the way to the subsystem away, which ends its connections,
// and then the subsystem.
func (t *Target) withdraw(nqn string) error {
	return errors.Join(gone(filepath.Join(t.port, "subsystems", nqn)), remove(nqn))
}

func (t *Target) lose() error {
	var errs []error
	for _, nqn := range names(filepath.Join(t.port, "subsystems")) {
		errs = append(errs, t.withdraw(nqn))
	}
	return errors.Join(errs...)
}
