package target

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/test/guest/world"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/export"
)

// exported is a registry behind the kernel's target, with one disk.
func exported(t *testing.T, change func(*export.Subsystem)) (*export.Registry, export.Subsystem) {
	t.Helper()
	r := export.New(export.Options{Kernel: world.Export(t)})
	s := export.Subsystem{Slot: "x", NQN: "nqn.2026-11.test:x", File: filepath.Join(t.TempDir(), "x.img"), Size: size}
	if err := os.WriteFile(s.File, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(s.File, s.Size); err != nil {
		t.Fatal(err)
	}
	change(&s)
	r.Publish(s)
	return r, s
}

func TestOnlyTheAllowedHostConnects(t *testing.T) {
	a, b := nvme.HostOf("machine-a"), nvme.HostOf("machine-b")
	r, s := exported(t, func(s *export.Subsystem) { s.AllowHost = a.NQN })
	if got, err := world.Connect(s.NQN, b); !errors.Is(err, syscall.EIO) {
		t.Errorf("a host that isn't allowed: %q, %v, want it refused", got, err)
	}
	controller, device := world.MustConnect(t, s.NQN, a)

	// Another host being allowed instead doesn't end a connection; it ends the way back.
	r.Update("x", func(s *export.Subsystem) { s.AllowHost = b.NQN })
	fill(t, device)
	if state := world.State(controller); state != "live" {
		t.Errorf("the connection of a host that isn't allowed any more is %s", state)
	}
	world.DisconnectAll(s.NQN)
	if got, err := world.Connect(s.NQN, a); !errors.Is(err, syscall.EIO) {
		t.Errorf("a host that isn't allowed any more: %q, %v, want it refused", got, err)
	}
	_, _ = world.MustConnect(t, s.NQN, b)
	world.DisconnectAll(s.NQN)
	r.Update("x", func(s *export.Subsystem) { s.AllowHost = "" })
	_, _ = world.MustConnect(t, s.NQN, a)
}

func TestAConnectedHostSeesADiskGrow(t *testing.T) {
	r, s := exported(t, func(*export.Subsystem) {})
	_, device := world.MustConnect(t, s.NQN, nvme.HostOf("machine-a"))
	if err := os.Truncate(s.File, 2*size); err != nil {
		t.Fatal(err)
	}
	r.Update("x", func(s *export.Subsystem) { s.Size = 2 * size })
	world.Eventually(t, "the device's new size", func() bool {
		sectors, err := os.ReadFile("/sys/class/block/" + filepath.Base(device) + "/size")
		return err == nil && strings.TrimSpace(string(sectors)) == strconv.Itoa(2*size/512)
	})
}
