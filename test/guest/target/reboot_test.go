package target

import (
	"errors"
	"os"
	"syscall"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/test/guest/world"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
)

// reboot takes the appliance down and up under a connected host, and returns the host's device.
func reboot(t *testing.T, w *world.World, volume *world.Volume) (device string) {
	t.Helper()
	nqn := volume.Publish(t, world.NodeA)
	controller, device := world.MustConnect(t, nqn, nvme.HostOf("machine-a"), "reconnect_delay=1", "ctrl_loss_tmo=-1")
	if err := w.Sim.Reboot(t.Context(), appliance.Boot{}); err != nil {
		t.Fatal(err)
	}
	for phase := range 2 {
		if got, err := world.Connect(nqn, nvme.HostOf("machine-b")); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("connect in phase %d of the boot: %q, %v, want nobody to answer", phase, got, err)
		}
		if state := world.State(controller); state == "live" || state == "gone" {
			t.Errorf("in phase %d of the boot the controller is %s", phase, state)
		}
		w.Sim.NextPhase()
	}
	return device
}

// A target that doesn't answer while it is down doesn't drive its initiators away, so that they go on when it is back.
func TestAConnectionOutlivesAReboot(t *testing.T) {
	w := world.New(t, world.Options{Sim: func(o *sim.Options) { o.Exports.StableIdentity = true }})
	volume := w.Create(t, "pvc-1", size)
	device := reboot(t, w, volume)
	written := fill(t, device) // waits for the connection
	if checksum(t, volume.File) != written {
		t.Error("the backing file doesn't hold what was written after the reboot")
	}
}

// To the kernel a disk that has another UUID than before is another disk. What waited for the connection goes through, and
// then it takes the device away for good, however long it was told to wait.
func TestADeviceDoesNotOutliveItsIdentity(t *testing.T) {
	w := world.New(t, world.Options{Sim: func(o *sim.Options) { o.Exports.StableIdentity = false }})
	volume := w.Create(t, "pvc-1", size)
	file, err := os.OpenFile(reboot(t, w, volume), os.O_WRONLY|syscall.O_SYNC, 0)
	if err != nil {
		return // it is gone already
	}
	defer func() { _ = file.Close() }()
	world.Eventually(t, "a write to the old device that fails", func() bool {
		_, err := file.WriteAt(make([]byte, 4096), 0)
		return err != nil
	})
}

// A target that answers before its exports are back refuses its initiators: what they make of it differs by kernel, but
// once the exports are back they must find them under the same NQN.
func TestExportsComeBackLate(t *testing.T) {
	w := world.New(t, world.Options{Sim: func(o *sim.Options) { o.Unknowns.ListensEarly = true }})
	volume, host := w.Create(t, "pvc-1", size), nvme.HostOf("machine-a")
	nqn := volume.Publish(t, world.NodeA)
	_, _ = world.MustConnect(t, nqn, host)
	if err := w.Sim.Reboot(t.Context(), appliance.Boot{}); err != nil {
		t.Fatal(err)
	}
	w.Sim.NextPhase()
	world.DisconnectAll(nqn)
	if got, err := world.Connect(nqn, host); !errors.Is(err, syscall.EIO) {
		t.Errorf("connect before the exports are back: %q, %v, want it refused", got, err)
	}
	w.Sim.NextPhase()
	_, device := world.MustConnect(t, nqn, host)
	if written := fill(t, device); checksum(t, volume.File) != written {
		t.Error("the backing file doesn't hold what was written after the reboot")
	}
}
