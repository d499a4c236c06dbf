package node

import (
	"context"
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"git.srvlab.io/whiskey/rds-csi-driver/test/guest/world"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
)

// quick has a kernel notice at once that the target is back.
func quick() map[string]string { return map[string]string{"reconnect_delay": "1"} }

// faithful keeps the identity of disks over reboots, as the kernel needs to know them again.
func faithful(o *sim.Options) { o.Exports.StableIdentity = true }

func (r *rig) powerOff(t *testing.T) {
	t.Helper()
	if err := r.Sim.Reboot(t.Context(), appliance.Boot{}); err != nil {
		t.Fatal(err)
	}
}

func (r *rig) powerOn() {
	for r.Sim.Phase() != appliance.Up {
		r.Sim.NextPhase()
	}
	r.Sim.Advance(time.Hour) // past the boot window
}

// A pod that writes while the appliance reboots waits, and goes on.
func TestAPodOutlivesAReboot(t *testing.T) {
	for _, kind := range []string{"ext4", "block"} {
		t.Run(kind, func(t *testing.T) {
			r := newRig(t, world.Options{Sim: faithful})
			v := r.create(t, "pvc-1", kind, quick())
			v.bring(t)
			r.powerOff(t)
			world.Eventually(t, "the volume is found unwell", func() bool { return len(v.unwell(t)) > 0 })
			written := make(chan error, 1)
			go func() { written <- v.write(2) }()
			select {
			case err := <-written:
				t.Fatalf("a write ended while the target was away: %v", err)
			case <-time.After(time.Second):
			}
			r.powerOn()
			if err := <-written; err != nil || !v.holds(t, 2) {
				t.Errorf("the write after the reboot: %v", err)
			}
			world.Eventually(t, "the volume is well", func() bool { return len(v.unwell(t)) == 0 })
			v.home(t)
		})
	}
}

// An appliance that listens before its exports are back drives kernels away; some give their device up for good, others go
// on trying. In either case a pod that is started afterwards has its data.
func TestExportsThatComeBackLate(t *testing.T) {
	r := newRig(t, world.Options{Sim: func(o *sim.Options) { faithful(o); o.Unknowns.ListensEarly = true }})
	v := r.create(t, "pvc-1", "ext4", quick())
	v.bring(t)
	if err := v.write(3); err != nil {
		t.Fatal(err)
	}
	r.powerOff(t)
	r.Sim.NextPhase()
	gaveUp := false
	for deadline := time.Now().Add(8 * time.Second); !gaveUp && time.Now().Before(deadline); <-time.After(100 * time.Millisecond) {
		gaveUp = len(world.Controllers(v.nqn())) == 0
	}
	if want := takesRefusals(t); gaveUp != want {
		t.Errorf("the kernel gave the device up: %t, want %t", gaveUp, want)
	}
	if len(v.unwell(t)) == 0 {
		t.Error("the volume is found well while its exports are away")
	}
	r.powerOn()
	world.Eventually(t, "it is connected again", func() bool { v.unwell(t); return len(world.Controllers(v.nqn())) > 0 })
	if lost := r.lost.Load(); (lost > 0) != gaveUp {
		t.Errorf("counted %d lost connections", lost)
	}
	world.Eventually(t, "whoever connected it again says so", func() bool { return !gaveUp || r.reconnected.Load() > 0 })
	world.Eventually(t, "the pod's volume is there again", func() bool { return v.stage(t) == nil && v.publish(t) == nil })
	if err := v.write(4); err != nil || !v.holds(t, 4) {
		t.Errorf("after the recovery: %v", err)
	}
	v.home(t)
}

// A device that somebody has open keeps its name; the volume comes back under another one, which is what the pod gets.
func TestARenumberedDevice(t *testing.T) {
	for _, kind := range []string{"ext4", "xfs", "block"} {
		t.Run(kind, func(t *testing.T) {
			r := newRig(t, world.Options{Sim: faithful})
			v := r.create(t, "pvc-1", kind, quick())
			v.bring(t)
			if err := v.write(5); err != nil {
				t.Fatal(err)
			}
			before := world.Device(v.nqn())
			held, err := os.Open(before)
			if err != nil {
				t.Fatal(err)
			}
			world.DisconnectAll(v.nqn())
			world.Eventually(t, "stage and publish again", func() bool { return v.stage(t) == nil && v.publish(t) == nil })
			if after := world.Device(v.nqn()); after == before {
				t.Errorf("the device is %s as before: nothing was tried", after)
			}
			if !v.holds(t, 5) || v.write(6) != nil || !v.holds(t, 6) {
				t.Error("the pod doesn't have the device that lives")
			}
			if err := held.Close(); err != nil {
				t.Error(err)
			}
			v.home(t)
		})
	}
}

// takesRefusals tells whether this kernel gives a device up when the target refuses it once, as Linux 6.12 does and 6.1 doesn't.
func takesRefusals(t *testing.T) bool {
	t.Helper()
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		t.Fatal(err)
	}
	var major, minor int
	if _, err := fmt.Sscanf(string(release), "%d.%d", &major, &minor); err != nil {
		t.Fatalf("kernel %q: %v", release, err)
	}
	return major > 6 || major == 6 && minor >= 12
}

// With the options that a StorageClass has by default the kernel waits for a target for ever, and so do writes that
// unmounting needs. Then the node gives them up after a while; what was synced before is there.
func TestUnstageGivesUpWritesAfterAWhile(t *testing.T) {
	r := newRig(t, world.Options{Sim: faithful})
	for _, kind := range []string{"ext4", "xfs"} {
		t.Run(kind, func(t *testing.T) {
			v := r.create(t, "pvc-"+kind, kind, nil)
			v.bring(t)
			if err := v.write(8); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(v.file()+"-unsynced", content(9), 0o600); err != nil {
				t.Fatal(err)
			}
			twice(t, "unpublish", v.unpublish)
			r.powerOff(t)
			world.Eventually(t, "unstaged", func() bool { return v.unstage(t) == nil })
			v.checkLetGo(t, 8)
		})
	}
}

// checkLetGo makes sure that the node has no connection left, and that what was synced before is there once the target is back.
func (v *volume) checkLetGo(t *testing.T, synced byte) {
	t.Helper()
	if names := world.Controllers(v.nqn()); len(names) != 0 {
		t.Errorf("left behind: %v", names)
	}
	v.r.powerOn()
	v.detach(t, world.NodeA)
	v.bring(t)
	if !v.holds(t, synced) {
		t.Error("what was synced before is gone")
	}
	v.home(t)
}

// Unstaging answers in time while the target is away, and is done once the kernel lets go.
func TestUnstageWithoutTheTarget(t *testing.T) {
	r := newRig(t, world.Options{Sim: faithful})
	v := r.create(t, "pvc-1", "ext4", map[string]string{"reconnect_delay": "1", "fast_io_fail_tmo": "4"})
	v.bring(t)
	if err := v.write(7); err != nil {
		t.Fatal(err)
	}
	twice(t, "unpublish", v.unpublish)
	r.powerOff(t)
	world.Eventually(t, "the kernel notices", func() bool { return len(v.unwell(t)) > 0 })
	brief, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := r.NodeUnstageVolume(brief, &csi.NodeUnstageVolumeRequest{VolumeId: v.id, StagingTargetPath: v.staging()}); err == nil {
		t.Log("unstaging was done at once")
	}
	world.Eventually(t, "unstaged", func() bool { return v.unstage(t) == nil })
	v.checkLetGo(t, 7)
}

// What staging a volume says, which kubectl describe pod shows, names the address that can't be reached.
func TestATargetThatCannotBeReachedIsNamed(t *testing.T) {
	v := newRig(t, world.Options{}).create(t, "pvc-1", "ext4", nil)
	v.attach(t, world.NodeA)
	for name, c := range map[string]struct{ key, value, want string }{
		"nobody listens":  {"port", "4421", "127.0.0.1 port 4421"},
		"no route":        {"address", "203.0.113.1", "203.0.113.1 port 4420"},
		"an unknown name": {"address", "appliance.invalid", "appliance.invalid"},
		"an IPv6 address": {"address", "2001:db8::1", "2001:db8::1 port 4420"},
	} {
		t.Run(name, func(t *testing.T) {
			given := v.context
			defer func() { v.context = given }()
			v.context = maps.Clone(given)
			v.context[c.key] = c.value
			err := v.stage(t)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "storage network") {
				t.Errorf("got %v, want an error that names %q", err, c.want)
			}
			t.Log(err)
		})
	}
	twice(t, "stage at its real address", v.stage)
	twice(t, "unstage", v.unstage)
}
