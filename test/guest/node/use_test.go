package node

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/test/guest/world"
)

// What a pod wrote is there under the next epoch, and nothing is left behind in between.
func TestAVolumeGoesToItsPodAndBack(t *testing.T) {
	for _, kind := range []string{"ext4", "xfs", "block"} {
		t.Run(kind, func(t *testing.T) {
			v := newRig(t, world.Options{}).create(t, "pvc-1", kind, map[string]string{"hdr_digest": "true", "nr_io_queues": "1"})
			v.bring(t)
			if err := v.write(1); err != nil {
				t.Fatal(err)
			}
			if unwell := v.unwell(t); len(unwell) != 0 {
				t.Errorf("unwell: %v", unwell)
			}
			first := v.nqn()
			v.home(t)
			v.bring(t)
			if v.nqn() == first || !v.holds(t, 1) {
				t.Errorf("under %s after %s: the data isn't what was written", v.nqn(), first)
			}
			v.home(t)
		})
	}
}

// The kernel takes every option that a StorageClass may have.
func TestTheKernelTakesEveryOption(t *testing.T) {
	v := newRig(t, world.Options{}).create(t, "pvc-1", "block", map[string]string{
		"ctrl_loss_tmo": "60", "reconnect_delay": "3", "fast_io_fail_tmo": "30", "keep_alive_tmo": "7", "nr_io_queues": "1", "queue_size": "32",
		"hdr_digest": "true", "data_digest": "true",
	})
	v.bring(t)
	if err := v.write(1); err != nil || !v.holds(t, 1) {
		t.Errorf("write: %v", err)
	}
	names := world.Controllers(v.nqn())
	if len(names) != 1 {
		t.Fatalf("controllers %v, want one", names)
	}
	for attribute, want := range map[string]string{"ctrl_loss_tmo": "60", "reconnect_delay": "3", "fast_io_fail_tmo": "30", "kato": "7", "queue_count": "2", "sqsize": "31"} {
		if got, err := os.ReadFile("/sys/class/nvme/" + names[0] + "/" + attribute); err != nil || strings.TrimSpace(string(got)) != want {
			t.Errorf("%s: %q, %v, want %s", attribute, got, err, want)
		}
	}
	v.home(t)
}

func TestAVolumeGrowsUnderItsPod(t *testing.T) {
	for _, kind := range []string{"ext4", "xfs", "block"} {
		t.Run(kind, func(t *testing.T) {
			v := newRig(t, world.Options{}).create(t, "pvc-1", kind, nil)
			v.bring(t)
			if err := v.write(1); err != nil {
				t.Fatal(err)
			}
			before := v.total(t)
			v.enlarge(t, 2*size)
			twice(t, "expand on the node", v.expand)
			if after := v.total(t); after < before+size*3/4 || !v.holds(t, 1) {
				t.Errorf("%d bytes before, %d after, data there: %t", before, after, v.holds(t, 1))
			}
			v.home(t)
		})
	}
}

// enlarge has the appliance make the volume larger, to that many bytes.
func (v *volume) enlarge(t *testing.T, bytes int64) {
	t.Helper()
	v.bytes = bytes
	expanded, err := v.r.ControllerExpandVolume(t.Context(), &csi.ControllerExpandVolumeRequest{VolumeId: v.id, CapacityRange: &csi.CapacityRange{RequiredBytes: bytes}, VolumeCapability: v.capability})
	if err != nil || !expanded.GetNodeExpansionRequired() {
		t.Fatalf("expand at the appliance: %v, %v", expanded, err)
	}
}

// expand has the node follow.
func (v *volume) expand(t *testing.T) error {
	t.Helper()
	_, err := v.r.NodeExpandVolume(t.Context(), &csi.NodeExpandVolumeRequest{
		VolumeId: v.id, VolumePath: v.target(), StagingTargetPath: v.staging(), CapacityRange: &csi.CapacityRange{RequiredBytes: v.bytes}, VolumeCapability: v.capability,
	})
	return err
}

// stats are those of what is mounted for the pod.
func (v *volume) stats(t *testing.T) (*csi.NodeGetVolumeStatsResponse, error) {
	t.Helper()
	return v.r.NodeGetVolumeStats(t.Context(), &csi.NodeGetVolumeStatsRequest{VolumeId: v.id, VolumePath: v.target(), StagingTargetPath: v.staging()})
}

// total is the size that NodeGetVolumeStats gives, in bytes.
func (v *volume) total(t *testing.T) int64 {
	t.Helper()
	response, err := v.stats(t)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(response.GetUsage(), func(usage *csi.VolumeUsage) bool { return usage.GetUnit() == csi.VolumeUsage_BYTES })
	if i < 0 {
		t.Fatalf("no bytes among %v", response.GetUsage())
	}
	return response.GetUsage()[i].GetTotal()
}

// The kernel refuses what is written to a volume that was attached read only, past its filesystem, too. Attached again, it
// is written as before.
func TestAReadOnlyVolumeIsWriteProtected(t *testing.T) {
	for _, kind := range []string{"ext4", "xfs", "block"} {
		t.Run(kind, func(t *testing.T) {
			v := newRig(t, world.Options{}).create(t, "pvc-1", kind, nil)
			for _, seed := range []byte{1, 2} {
				v.readOnly = false
				v.bring(t)
				if err := v.write(seed); err != nil {
					t.Error(err)
				}
				v.home(t)
				v.readOnly = true
				v.bring(t)
				v.refusesWrites(t)
				if reasons := v.unwell(t); len(reasons) != 0 || !v.holds(t, seed) {
					t.Errorf("read only: unwell %q, data there %t; want well, with the data", reasons, v.holds(t, seed))
				}
				v.home(t)
			}
		})
	}
}

// refusesWrites checks that neither the pod nor anybody else who has the device can write.
func (v *volume) refusesWrites(t *testing.T) {
	t.Helper()
	if err := v.write(3); err == nil {
		t.Error("the pod writes")
	}
	device, err := os.OpenFile(world.Device(v.nqn()), os.O_WRONLY, 0)
	if err == nil {
		_, err = device.Write(content(3))
		err = errors.Join(err, device.Close())
	}
	if !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.EROFS) {
		t.Errorf("writing to the device: %v, want a refusal", err)
	}
}

// What was granted before the volume went to another node leads nowhere.
func TestADeadEpochIsRefused(t *testing.T) {
	v := newRig(t, world.Options{}).create(t, "pvc-1", "ext4", nil)
	v.attach(t, world.NodeA)
	dead := v.context
	v.detach(t, world.NodeA)
	v.attach(t, world.NodeB)
	v.context = dead
	if err := v.stage(t); err == nil {
		t.Error("staged under an epoch that ended")
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil || strings.Contains(string(mounts), v.staging()) || len(world.Controllers(v.nqn())) != 0 {
		t.Errorf("%v, controllers %v; mounts:\n%s", err, world.Controllers(v.nqn()), mounts)
	}
}

// With --restrict-hosts the target refuses every host but the holder's, although it knows the epoch.
func TestAnotherHostIsRefused(t *testing.T) {
	r := newRig(t, world.Options{Client: func(config *rds.Config) {
		config.HostNQN = func(nodeID string) string {
			id, err := attach.ParseNodeID(nodeID)
			if err != nil {
				t.Error(err)
			}
			return nvme.HostOf(id.Machine).NQN
		}
	}})
	v := r.create(t, "pvc-1", "block", nil)
	v.attach(t, world.NodeA)
	if _, err := world.Connect(v.nqn(), nvme.HostOf("machine-b")); err == nil {
		t.Error("another machine connected")
	}
	v.bring(t)
	if err := v.write(1); err != nil {
		t.Error(err)
	}
	v.home(t)
}

// kubelet may know nothing of a volume having been elsewhere meanwhile: it believes it staged, and publishes it under the
// new epoch. Then the pod gets the volume that lives, and what is left of the dead epoch goes.
func TestAVolumeThatWasElsewhereMeanwhile(t *testing.T) {
	for _, kind := range []string{"ext4", "xfs", "block"} {
		t.Run(kind, func(t *testing.T) {
			r := newRig(t, world.Options{Sim: faithful})
			v := r.create(t, "pvc-1", kind, quick())
			v.bring(t)
			if err := v.write(1); err != nil {
				t.Fatal(err)
			}
			dead := v.nqn()
			r.Lose(world.NodeA)
			v.attach(t, world.NodeB)
			v.detach(t, world.NodeB)
			v.attach(t, world.NodeA)
			world.Eventually(t, "published under the new epoch", func() bool {
				err := v.publish(t)
				if err != nil {
					t.Log(err)
				}
				return err == nil
			})
			if v.nqn() == dead || !v.holds(t, 1) || v.write(2) != nil || !v.holds(t, 2) {
				t.Error("the pod doesn't have the volume that lives")
			}
			if left := world.Controllers(dead); len(left) != 0 {
				t.Errorf("left of the dead epoch: %v", left)
			}
			v.home(t)
		})
	}
}
