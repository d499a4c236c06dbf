package nvme

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const volume = "nqn.2026-11.io.srvlab.csi.rds:csi-1:aaaa"

func targetOf(nqn string) Target {
	return Target{SubsystemNQN: nqn, Address: "192.0.2.10", Port: 4420, Options: DefaultOptions()}
}

// both runs a test with and without the kernel's multipath, on a clock of its own.
func both(t *testing.T, test func(t *testing.T, k *tree)) {
	t.Helper()
	for _, multipath := range []bool{true, false} {
		t.Run(fmt.Sprintf("multipath %t", multipath), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, newTree(t, multipath)) })
		})
	}
}

// join connects the volume and waits for the device.
func join(ctx context.Context, i *Initiator) (string, error) {
	if err := i.Connect(ctx, targetOf(volume)); err != nil {
		return "", err
	}
	return i.Device(ctx, volume)
}

func TestConnectAsksOnceAndFindsTheDevice(t *testing.T) {
	both(t, func(t *testing.T, k *tree) {
		t.Helper()
		k.exported[volume] = true
		k.connect(volume+"2", "live") // a name that begins alike
		i := k.initiator()
		first, err := join(t.Context(), i)
		if err != nil {
			t.Fatal(err)
		}
		second, err := join(t.Context(), i)
		if err != nil || second != first || filepath.Dir(first) != filepath.Join(k.root, "dev") {
			t.Errorf("once more: %q, %v, want %q", second, err, first)
		}
		host := HostOf("machine-a")
		want := []string{"nqn=" + volume + ",transport=tcp,traddr=192.0.2.10,trsvcid=4420,hostnqn=" + host.NQN + ",hostid=" + host.ID +
			",ctrl_loss_tmo=-1,reconnect_delay=2,keep_alive_tmo=5,queue_size=128"}
		if diff := cmp.Diff(want, k.requests); diff != "" {
			t.Errorf("asked of the kernel (-want +got):\n%s", diff)
		}
	})
}

// Whatever state the controllers are in: Connect asks for a new one only if none of them may become live, returns as
// soon as one is, and no later than its context ends.
func TestConnectWaitsForWhatMayComeBack(t *testing.T) {
	both(t, func(t *testing.T, k *tree) {
		t.Helper()
		for n, state := range append(states(), "unheard of") {
			nqn := fmt.Sprintf("%s-%d", volume, n)
			k.connect(nqn, state)
			k.requests = nil
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			err := k.initiator().Connect(ctx, targetOf(nqn))
			cancel()
			want := map[bool]error{true: ErrUnreachable, false: ErrRefused}[mayBecomeLive(state)]
			if state == "live" {
				want = nil
			}
			if !errors.Is(err, want) || (err == nil) != (want == nil) || (len(k.requests) == 0) != mayBecomeLive(state) {
				t.Errorf("%s: %v, asked the kernel %d times, want %v", state, err, len(k.requests), want)
			}
		}
	})
}

func TestConnectReturnsWhenTheConnectionIsBack(t *testing.T) {
	both(t, func(t *testing.T, k *tree) {
		t.Helper()
		name := k.connect(volume, "connecting")
		time.AfterFunc(10*time.Second, func() { k.write(filepath.Join(k.root, "sys/class/nvme", name), "state", "live") })
		if device, err := join(t.Context(), k.initiator()); err != nil || device == "" || len(k.requests) != 0 {
			t.Errorf("Connect: %q, %v, asked %v", device, err, k.requests)
		}
	})
}

// A kernel that gave a connection up while it was waited for is asked for a new one.
func TestConnectAsksAgainWhenTheKernelGaveUp(t *testing.T) {
	both(t, func(t *testing.T, k *tree) {
		t.Helper()
		name := k.connect(volume, "connecting")
		k.exported[volume] = true
		time.AfterFunc(10*time.Second, func() { k.remove(name) })
		if err := k.initiator().Connect(t.Context(), targetOf(volume)); err != nil || len(k.requests) != 1 {
			t.Errorf("Connect: %v, asked %v", err, k.requests)
		}
	})
}

func TestWhatTheKernelsRefusalsMean(t *testing.T) {
	k := newTree(t, true)
	for err, want := range map[error]error{
		syscall.EIO: ErrRefused, syscall.ECONNREFUSED: ErrUnreachable, syscall.EHOSTUNREACH: ErrUnreachable,
		syscall.ETIMEDOUT: ErrUnreachable, syscall.EINVAL: ErrKernelRefused, fs.ErrNotExist: ErrNoModule, syscall.EKEYREJECTED: syscall.EKEYREJECTED,
	} {
		i := k.initiator()
		i.addController = func(string) (string, error) { return "", err }
		if got := i.Connect(t.Context(), targetOf(volume)); !errors.Is(got, want) || !errors.Is(got, err) || !strings.Contains(got.Error(), volume) {
			t.Errorf("%v: got %v, want %v that names the subsystem", err, got, want)
		}
	}
	// Somebody else's attempt, which comes to nothing.
	answers := []error{syscall.EALREADY, syscall.EIO}
	i := k.initiator()
	i.addController = func(string) (_ string, err error) {
		err, answers = answers[0], answers[1:]
		return "", err
	}
	if err := i.Connect(t.Context(), targetOf(volume)); !errors.Is(err, ErrRefused) {
		t.Errorf("already connecting: %v, want it to ask again", err)
	}
	// A reply that nobody has seen may be that of another kernel, which did something else.
	i = k.initiator()
	ctx, giveUp := context.WithCancel(t.Context())
	defer giveUp()
	asked := 0
	i.addController = func(string) (string, error) {
		if asked++; asked > 1 {
			giveUp()
		}
		return "instance=zero", nil
	}
	if err := i.Connect(ctx, targetOf(volume)); err == nil || !strings.Contains(err.Error(), "instance=zero") {
		t.Errorf("an odd reply: %v, want an error that quotes it", err)
	}
	bare := New(Config{Host: HostOf("machine-a"), Root: t.TempDir()})
	if err := bare.Connect(t.Context(), targetOf(volume)); !errors.Is(err, ErrNoModule) || !errors.Is(bare.Ready(), ErrNoModule) {
		t.Errorf("a machine without /dev/nvme-fabrics: %v, want ErrNoModule", err)
	}
}

// A kernel that doesn't answer holds up nobody, and isn't asked the same twice.
func TestASilentKernelIsAskedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newTree(t, true)
		i, answer := k.initiator(), make(chan error)
		var asked atomic.Int32
		i.addController = func(string) (string, error) { asked.Add(1); return "", <-answer }
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if err := i.Connect(ctx, targetOf(volume)); !errors.Is(err, ErrUnreachable) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v, want ErrUnreachable", err)
			}
			cancel()
		}
		if got := asked.Load(); got != 1 {
			t.Errorf("asked %d times", got)
		}
		answer <- syscall.EIO
	})
}

func TestTwoDevicesForOneSubsystemAreNone(t *testing.T) {
	both(t, func(t *testing.T, k *tree) {
		t.Helper()
		k.connect(volume, "live")
		k.device(k.subsystem(volume), "nvme9n9")
		if _, err := join(t.Context(), k.initiator()); !errors.Is(err, ErrNoDevice) || !strings.Contains(err.Error(), "nvme9n9") {
			t.Errorf("Connect: %v, want ErrNoDevice that names them", err)
		}
		if _, err := k.initiator().Connections(t.Context(), volume); !errors.Is(err, ErrNoDevice) {
			t.Errorf("Connections: %v, want ErrNoDevice", err)
		}
	})
}

// A kernel leaves a device out while another one has its identity, and doesn't look again by itself.
func TestADeviceThatDoesNotComeIsLookedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newTree(t, false)
		name := k.connect(volume, "live")
		k.write(k.folder("sys/class/nvme/"+name), "rescan_controller", "")
		hidden := k.hide(name)
		time.AfterFunc(time.Minute, func() {
			if k.written(name, "rescan_controller") == "1" {
				hidden()
			}
		})
		if device, err := k.initiator().Device(t.Context(), volume); err != nil || device == "" {
			t.Errorf("Device: %q, %v", device, err)
		}
	})
}

// A device is there a moment before it can be opened.
func TestADeviceThatCannotBeOpenedYetIsWaitedFor(t *testing.T) {
	both(t, func(t *testing.T, k *tree) {
		t.Helper()
		k.connect(volume, "live")
		i, tries := k.initiator(), 0
		i.openDevice = func(path string) error {
			if tries++; tries < 10 {
				return &os.PathError{Op: "open", Path: path, Err: syscall.ENXIO}
			}
			return nil
		}
		if device, err := i.Device(t.Context(), volume); err != nil || device == "" || tries != 10 {
			t.Errorf("Device: %q, %v after %d tries", device, err, tries)
		}
	})
}

func TestDeviceEndsWithTheConnection(t *testing.T) {
	both(t, func(t *testing.T, k *tree) {
		t.Helper()
		name := k.connect(volume, "live")
		k.hide(name)
		time.AfterFunc(time.Minute, func() { k.remove(name) })
		if _, err := k.initiator().Device(t.Context(), volume); !errors.Is(err, ErrUnreachable) {
			t.Errorf("Device of a connection that was lost: %v, want ErrUnreachable", err)
		}
	})
}

// What stands in /dev is believed only if it is the device that sysfs says it is.
func TestANameInDevIsNotEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newTree(t, true)
		k.connect(volume, "live")
		i := k.initiator()
		i.checkDevice = checkDevice
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := join(ctx, i); !errors.Is(err, ErrNoDevice) {
			t.Errorf("a regular file in /dev: %v, want ErrNoDevice", err)
		}
	})
}

// Disconnect ends all controllers of the subsystem, in whatever state, and nothing else.
func TestDisconnectTouchesNothingElse(t *testing.T) {
	both(t, func(t *testing.T, k *tree) {
		t.Helper()
		var mine, others []string
		for _, state := range states() {
			mine = append(mine, k.connect(volume, state))
			for _, other := range []string{volume + "a", volume[:len(volume)-1], "nqn.2026-11.io.srvlab.csi.rds:csi-1:bbbb"} {
				others = append(others, k.connect(other, state))
			}
		}
		time.AfterFunc(time.Second, func() {
			for _, name := range mine {
				if k.written(name, "delete_controller") != "1" {
					t.Errorf("controller %s wasn't deleted", name)
				}
				k.remove(name)
			}
		})
		if err := k.initiator().Disconnect(t.Context(), volume); err != nil {
			t.Error(err)
		}
		for _, name := range others {
			if k.written(name, "delete_controller") != "" {
				t.Errorf("controller %s of another subsystem was deleted", name)
			}
		}
		if err := k.initiator().Disconnect(t.Context(), volume); err != nil {
			t.Errorf("with nothing connected: %v", err)
		}
		if err := New(Config{Root: t.TempDir()}).Disconnect(t.Context(), volume); err != nil {
			t.Errorf("without the module: %v", err)
		}
	})
}

// The kernel may have given a controller's name to one of another subsystem.
func TestANameThatWasGivenAwayIsLeftAlone(t *testing.T) {
	k := newTree(t, true)
	name := k.connect("nqn.2026-11.io.srvlab.csi.rds:other", "live")
	if err := (sysfs{root: k.root}).control(name, volume, "delete_controller"); err != nil || k.written(name, "delete_controller") != "" {
		t.Errorf("control: %v, and it wrote %q", err, k.written(name, "delete_controller"))
	}
}

func TestDisconnectEndsWithItsContext(t *testing.T) {
	both(t, func(t *testing.T, k *tree) {
		t.Helper()
		k.connect(volume, "deleting")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := k.initiator().Disconnect(ctx, volume); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the context's error", err)
		}
	})
}

func TestConnections(t *testing.T) {
	both(t, func(t *testing.T, k *tree) {
		t.Helper()
		k.subsystem(volume + "gone") // a process still has its device open
		k.connect(volume+"one", "connecting")
		k.connect("nqn.other", "live")
		k.connect("nqn.other:"+volume+"one", "live")
		got, err := k.initiator().Connections(t.Context(), volume)
		if err != nil || len(got) != 2 {
			t.Fatalf("got %+v, %v, want two", got, err)
		}
		for _, c := range got {
			lost := c.SubsystemNQN == volume+"gone"
			if (c.Device == "") != lost || c.State != map[bool]string{true: "", false: "connecting"}[lost] {
				t.Errorf("got %+v", c)
			}
		}
	})
}

// sysfs shows a device a moment before /dev has it, and a moment longer. That is waited for, and no longer.
func TestConnectionsWaitForDev(t *testing.T) {
	both(t, func(t *testing.T, k *tree) {
		t.Helper()
		name := k.connect(volume, "live")
		device, err := join(t.Context(), k.initiator())
		if err != nil {
			t.Fatal(err)
		}
		missing := device + "-aside"
		if err := os.Rename(device, missing); err != nil {
			t.Fatal(err)
		}
		if _, err := k.initiator().Connections(t.Context(), volume); !errors.Is(err, ErrNoDevice) {
			t.Errorf("a device that never comes: %v, want ErrNoDevice", err)
		}
		time.AfterFunc(time.Second, func() { _ = os.Rename(missing, device) })
		if got, err := k.initiator().Connections(t.Context(), volume); err != nil || len(got) != 1 || got[0].Device != device {
			t.Errorf("a device that comes: %+v, %v, want %s", got, err, device)
		}
		time.AfterFunc(time.Second, func() { k.hide(name) })
		_ = os.Remove(device)
		if got, err := k.initiator().Connections(t.Context(), volume); err != nil || len(got) != 1 || got[0].Device != "" {
			t.Errorf("a device that goes: %+v, %v, want none", got, err)
		}
	})
}

// While a network swallows everything, the kernel shows nothing of a connection that it is making. It must not be left
// behind.
func TestAConnectionThatIsBeingMadeIsEnded(t *testing.T) {
	both(t, func(t *testing.T, k *tree) {
		t.Helper()
		k.exported[volume] = true
		i, back := k.initiator(), make(chan struct{})
		i.addController = func(options string) (string, error) { <-back; return k.addController(options) }
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := i.Connect(ctx, targetOf(volume)); !errors.Is(err, ErrUnreachable) {
			t.Errorf("Connect: %v, want ErrUnreachable", err)
		}
		if got, err := i.Connections(t.Context(), volume); err != nil || !cmp.Equal(got, []Connection{{SubsystemNQN: volume, State: "new"}}) {
			t.Errorf("Connections: %+v, %v, want the one that is being made", got, err)
		}
		if err := i.Disconnect(ctx, volume); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Disconnect within a second: %v, want it to wait", err)
		}
		time.AfterFunc(time.Minute, func() { close(back) })
		time.AfterFunc(2*time.Minute, func() {
			found, err := i.find(volume)
			if err != nil || len(found.controllers) != 1 || k.written(found.controllers[0].name, "delete_controller") != "1" {
				t.Errorf("what was made: %+v, %v, want one controller that is being deleted", found, err)
				return
			}
			k.remove(found.controllers[0].name)
		})
		if err := i.Disconnect(t.Context(), volume); err != nil {
			t.Errorf("Disconnect: %v", err)
		}
		if got, err := i.Connections(t.Context(), volume); err != nil || len(got) != 1 || got[0].State != "" {
			t.Errorf("Connections: %+v, %v, want no controller", got, err)
		}
		if len(k.requests) != 1 {
			t.Errorf("asked the kernel %d times, want once", len(k.requests))
		}
	})
}

func TestRescanAsksLiveConnections(t *testing.T) {
	both(t, func(t *testing.T, k *tree) {
		t.Helper()
		i := k.initiator()
		if err := i.Rescan(t.Context(), volume); !errors.Is(err, ErrUnreachable) {
			t.Errorf("nothing connected: %v, want ErrUnreachable", err)
		}
		name, other := k.connect(volume, "live"), k.connect(volume+"x", "live")
		if err := i.Rescan(t.Context(), volume); err != nil || k.written(name, "rescan_controller") != "1" || k.written(other, "rescan_controller") != "" {
			t.Errorf("Rescan: %v, wrote %q", err, k.written(name, "rescan_controller"))
		}
	})
}
