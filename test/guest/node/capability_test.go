package node

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/node/host"
	"git.srvlab.io/whiskey/rds-csi-driver/test/guest/world"
)

// podUser is whom a pod's processes and files belong to.
const podUser = 1000

// pod starts a process of the pod's user that has these files open. What ends it may be called again.
func pod(t *testing.T, files ...*os.File) (end func()) {
	t.Helper()
	process := exec.CommandContext(t.Context(), "sleep", "1000")
	process.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: podUser, Gid: podUser}}
	process.ExtraFiles = files
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	end = func() {
		_ = process.Process.Kill()
		_ = process.Wait()
	}
	t.Cleanup(end)
	return end
}

// walk is a volume on its way through everything that a node plugin does.
type walk struct {
	*volume

	all csi.NodeServer
	// lacking, if set, is a plugin that tries each step first; the other one does what it can't.
	lacking csi.NodeServer
	failed  []failedStep
	// loses is set if the volume is to lose its connection on the way.
	loses bool
}

type failedStep struct {
	step string
	err  error
}

func (w *walk) step(t *testing.T, name string, do func(*testing.T) error) {
	t.Helper()
	if w.lacking != nil {
		w.r.NodeServer = w.lacking
		err := do(t)
		if err == nil {
			return
		}
		w.failed = append(w.failed, failedStep{name, err})
	}
	w.r.NodeServer = w.all
	if err := do(t); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// giveAway makes a folder one that nobody but the pod's user may read, as databases make the root of their volumes.
func giveAway(t *testing.T, folder string) {
	t.Helper()
	if err := errors.Join(os.Chown(folder, podUser, podUser), os.Chmod(folder, 0o700)); err != nil {
		t.Fatal(err)
	}
}

// growth is by how much a volume grows in a life.
const growth = 64 << 20

// live goes through the volume's life. The device becomes as large as wanted; the pod had, and has at the end, a size in bytes.
func (w *walk) live(t *testing.T, bytes, had int64) (has int64) {
	t.Helper()
	beforehand := w.capability.GetMount().GetFsType() == "ext4" // which grows before it is mounted
	if beforehand {
		w.enlarge(t, bytes-growth/2)
	}
	w.attach(t, world.NodeA)
	w.step(t, "stage", w.stage)
	w.step(t, "publish", w.publish)
	w.step(t, "stats", func(t *testing.T) error { t.Helper(); _, err := w.stats(t); return err })
	w.step(t, "health", func(t *testing.T) error { t.Helper(); _, err := w.health(t); return err })
	w.use(t)
	staged := w.total(t)
	w.enlarge(t, bytes)
	w.step(t, "expand", w.expand)
	if has = w.total(t); beforehand && staged <= had || has <= staged {
		t.Errorf("it had %d bytes, %d when it was staged, %d when it was expanded; want it to grow", had, staged, has)
	}
	if w.loses {
		w.lose(t)
	}
	w.step(t, "unpublish", w.unpublish)
	w.step(t, "unstage", w.unstage)
	if left := world.Controllers(w.nqn()); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	w.detach(t, world.NodeA)
	return has
}

const publishAfterLoss = "publish after a loss"

// lose has the volume lose its connection.
func (w *walk) lose(t *testing.T) {
	t.Helper()
	world.DisconnectAll(w.nqn())
	w.step(t, "reconnect", func(t *testing.T) error {
		t.Helper()
		world.Eventually(t, "connected again", func() bool { _, _ = w.stats(t); return world.Device(w.nqn()) != "" })
		return nil
	})
	w.step(t, publishAfterLoss, func(t *testing.T) (err error) {
		t.Helper()
		world.Eventually(t, "whoever reconnected it is done", func() bool { err = w.publish(t); return status.Code(err) != codes.Aborted })
		return err
	})
	if !w.holds(t, 1) {
		t.Error("the data is gone")
	}
}

// use does what a pod does.
func (w *walk) use(t *testing.T) {
	t.Helper()
	if err := w.write(1); err != nil {
		t.Fatal(err)
	}
	if w.capability.GetBlock() == nil {
		giveAway(t, w.target())
	}
}

// needs are, for each capability, the steps in the lives of volumes that fail without it.
func needs() map[string]map[string][]string {
	return map[string]map[string][]string{
		"CAP_DAC_READ_SEARCH": {"ext4": {"expand", "unstage"}, "block": {"unstage"}},
		"CAP_SYS_PTRACE":      {"block": {"unstage"}},
		"CAP_SYS_ADMIN": {
			"ext4":  {"stage", "publish", "health", publishAfterLoss, "unpublish", "unstage"},
			"xfs":   {"stage", "publish", "health", "expand", "unpublish", "unstage"},
			"block": {"stage", "publish", publishAfterLoss, "unpublish"},
		},
		"CAP_SYS_RESOURCE": {"ext4": {"expand"}},
	}
}

// A plugin with exactly the capabilities that the driver says it needs does everything. If it lacks any of them, these steps
// fail and no others, and say what is lacking.
func TestEachCapabilityIsNeeded(t *testing.T) {
	bytes := int64(size + growth)
	r := newRig(t, world.Options{Sim: faithful})
	all := startPlugin(t, host.Capabilities())
	pod(t)
	volumes, sizes := map[string]*volume{}, map[string]int64{}
	for _, kind := range []string{"ext4", "xfs", "block"} {
		volumes[kind] = r.create(t, "pvc-"+kind, kind, nil)
		// kubelet makes the last folders above a mount point, and the others may be anybody's.
		giveAway(t, filepath.Dir(volumes[kind].folder))
		t.Run("with all of them/"+kind, func(t *testing.T) {
			sizes[kind] = (&walk{volume: volumes[kind], all: all, loses: true}).live(t, bytes, 0)
		})
	}
	for _, v := range volumes {
		if err := os.Chmod(filepath.Dir(v.folder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range host.Capabilities() {
		bytes += growth
		t.Run("without "+c.String(), func(t *testing.T) {
			lacking := startPlugin(t, slices.DeleteFunc(host.Capabilities(), func(other host.Capability) bool { return other == c }))
			if len(needs()[c.String()]) == 0 {
				t.Error("nothing is said to need it")
			}
			for kind, want := range needs()[c.String()] {
				w := &walk{volume: volumes[kind], all: all, lacking: lacking, loses: slices.Contains(want, publishAfterLoss)}
				sizes[kind] = w.live(t, bytes, sizes[kind])
				w.checkFailed(t, c, want)
			}
		})
	}
}

// checkFailed makes sure that the steps which failed are the wanted ones, and that each says that the capability is lacking.
func (w *walk) checkFailed(t *testing.T, lacking host.Capability, want []string) {
	t.Helper()
	var failed []string
	for _, f := range w.failed {
		failed = append(failed, f.step)
		if !strings.Contains(f.err.Error(), "lacks "+lacking.String()) {
			t.Errorf("%s: %s: %v, want an error that says that %s is lacking", w.id, f.step, f.err, lacking)
		}
	}
	if !slices.Equal(failed, want) {
		t.Errorf("%s without %s: %q failed, want %q", w.id, lacking, failed, want)
	}
}

// A plugin with exactly the capabilities that it needs sees that a pod's process has the device.
func TestThePluginSeesUsersOfADevice(t *testing.T) {
	r := newRig(t, world.Options{})
	r.NodeServer = startPlugin(t, host.Capabilities())
	v := r.create(t, "pvc-1", "block", nil)
	v.bring(t)
	device, err := os.Open(world.Device(v.nqn()))
	if err != nil {
		t.Fatal(err)
	}
	end := pod(t, device)
	if err := device.Close(); err != nil {
		t.Fatal(err)
	}
	twice(t, "unpublish", v.unpublish)
	v.refusesToUnstage(t, "(sleep) has it open")
	end()
	v.home(t)
}
