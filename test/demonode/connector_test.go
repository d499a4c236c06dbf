package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
)

// node is one running connector.
type node struct {
	*connector
	stop func()
}

func startNode(t *testing.T, s *target, stateFile string) *node {
	t.Helper()
	c, err := newConnector(newSimulator(s.URL, "nqn.host:"+filepath.Base(stateFile)), stateFile)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = c.Run(ctx)
	}()
	n := &node{connector: c, stop: func() { cancel(); <-done }}
	t.Cleanup(func() {
		n.stop()
		devices, err := devicesOf(s.file)
		for _, device := range devices {
			err = errors.Join(err, endFilesystem(device))
			_, clearing := clearLoop(device, s.file)
			err = errors.Join(err, clearing)
		}
		if err != nil {
			t.Errorf("clean up: %v", err)
		}
	})
	return n
}

func (n *node) mustConnect(t *testing.T, nqn string) string {
	t.Helper()
	device, err := n.connectTo(t, nqn)
	if err != nil {
		t.Fatalf("connect %s: %v", nqn, err)
	}
	return device
}

func (n *node) connectTo(t *testing.T, nqn string) (device string, err error) {
	t.Helper()
	if err := n.Connect(t.Context(), nvme.Target{SubsystemNQN: nqn}); err != nil {
		return "", err
	}
	return n.Device(t.Context(), nqn)
}

func (n *node) connections(t *testing.T) map[string]string {
	t.Helper()
	list, err := n.Connections(t.Context(), "nqn.")
	if err != nil {
		t.Fatal(err)
	}
	connections := map[string]string{}
	for _, connection := range list {
		connections[connection.SubsystemNQN] = connection.Device
	}
	return connections
}

func attachedTo(t *testing.T, file string) []string {
	t.Helper()
	devices, err := devicesOf(file)
	if err != nil {
		t.Fatal(err)
	}
	return devices
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := waitUntil(ctx, func() (bool, error) { return holds(), nil }); err != nil {
		t.Fatalf("waiting until %s: %v", what, err)
	}
}

func needLoops(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("loop devices need root")
	}
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		t.Skipf("no loop devices here: %v", err)
	}
}

// mounted formats the device and mounts it at two places, as a staged and published volume is.
func mounted(t *testing.T, device string) (staging, published string) {
	t.Helper()
	if _, err := exec.LookPath("mkfs.ext4"); err != nil {
		t.Skipf("a command is missing: %v", err)
	}
	folder := t.TempDir()
	staging, published = filepath.Join(folder, "globalmount"), filepath.Join(folder, "pod")
	if err := errors.Join(os.Mkdir(staging, 0o750), os.Mkdir(published, 0o750)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = unix.Unmount(published, unix.MNT_DETACH)
		_ = unix.Unmount(staging, unix.MNT_DETACH)
	})
	for _, command := range [][]string{{"mkfs.ext4", "-q", device}, {"mount", device, staging}, {"mount", "--bind", staging, published}} {
		if output, err := exec.CommandContext(t.Context(), command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", command, err, output)
		}
	}
	return staging, published
}

func isMounted(t *testing.T, path string) bool {
	t.Helper()
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(table), " "+path+" ")
}

func TestRefusedSubsystemAttachesNothing(t *testing.T) {
	s := newTarget(t)
	n := startNode(t, s, filepath.Join(t.TempDir(), "a"))
	err := n.Connect(t.Context(), nvme.Target{SubsystemNQN: nqnB})
	if !errors.Is(err, errRefused) {
		t.Errorf("connect what isn't exported: %v, want %v", err, errRefused)
	}
	if got := attachedTo(t, s.file); len(got) != 0 {
		t.Errorf("attached: %v, want nothing", got)
	}
}

func TestConnectAndDisconnectTwice(t *testing.T) {
	needLoops(t)
	s := newTarget(t)
	n := startNode(t, s, filepath.Join(t.TempDir(), "a"))
	device := n.mustConnect(t, nqnA)
	if again := n.mustConnect(t, nqnA); again != device || s.sessions() != 1 {
		t.Errorf("second connect: %s in session %d, want %s and the first session", again, s.sessions(), device)
	}
	if got := attachedTo(t, s.file); !slices.Equal(got, []string{device}) {
		t.Errorf("attached: %v, want %s", got, device)
	}
	for range 2 {
		if err := n.Disconnect(t.Context(), nqnA); err != nil {
			t.Fatalf("disconnect: %v", err)
		}
	}
	if got := attachedTo(t, s.file); len(got) != 0 || !s.hasEnded("s1") || len(n.connections(t)) != 0 {
		t.Errorf("after disconnect: attached %v, session ended %t, connections %v", got, s.hasEnded("s1"), n.connections(t))
	}
	s.checkHonest(t)
	n.mustConnect(t, nqnA)
}

func TestRevocationEndsEveryWayToWrite(t *testing.T) {
	needLoops(t)
	s := newTarget(t)
	n := startNode(t, s, filepath.Join(t.TempDir(), "a"))
	staging, published := mounted(t, n.mustConnect(t, nqnA))
	if err := os.WriteFile(filepath.Join(published, "file"), []byte("before"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.withdraw()
	eventually(t, "the revocation is confirmed", func() bool { return s.hasEnded("s1") })
	s.checkHonest(t)
	if isMounted(t, staging) || isMounted(t, published) {
		t.Error("still mounted after the confirmation")
	}
	if err := n.Connect(t.Context(), nvme.Target{SubsystemNQN: nqnA}); !errors.Is(err, errRefused) {
		t.Errorf("connect afterwards: %v, want %v", err, errRefused)
	}
}

// A process with an open file keeps the kernel from letting go. It can't write any more, and the simulator is not told
// that all is over until it really is.
func TestOpenFileCannotBeWrittenAndDelaysTheConfirmation(t *testing.T) {
	needLoops(t)
	s := newTarget(t)
	n := startNode(t, s, filepath.Join(t.TempDir(), "a"))
	staging, published := mounted(t, n.mustConnect(t, nqnA))
	file, err := os.Create(filepath.Join(published, "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	if _, err := file.WriteString("before"); err != nil {
		t.Fatal(err)
	}
	s.withdraw()
	eventually(t, "both mounts are gone", func() bool { return !isMounted(t, staging) && !isMounted(t, published) })
	if _, err := file.WriteString("after"); !errors.Is(err, unix.EIO) {
		t.Errorf("write after the revocation: %v, want EIO", err)
	}
	if s.hasEnded("s1") {
		t.Error("confirmed while a file is open there")
	}
	if err := file.Close(); err != nil {
		t.Logf("close: %v", err)
	}
	eventually(t, "the revocation is confirmed", func() bool { return s.hasEnded("s1") })
	s.checkHonest(t)
}

func TestFileWithAnotherLoopDeviceIsRefused(t *testing.T) {
	needLoops(t)
	s := newTarget(t)
	folder := t.TempDir()
	a, b := startNode(t, s, filepath.Join(folder, "a")), startNode(t, s, filepath.Join(folder, "b"))
	device := a.mustConnect(t, nqnA)
	err := b.Connect(t.Context(), nvme.Target{SubsystemNQN: nqnA})
	if err == nil || !strings.Contains(err.Error(), device) {
		t.Errorf("attach the same file on another node: %v, want an error that names %s", err, device)
	}
	if got := attachedTo(t, s.file); !slices.Equal(got, []string{device}) {
		t.Errorf("attached: %v, want %s only", got, device)
	}
}

func TestNewEpochCutsTheOldOneOff(t *testing.T) {
	needLoops(t)
	s := newTarget(t)
	n := startNode(t, s, filepath.Join(t.TempDir(), "a"))
	staging, _ := mounted(t, n.mustConnect(t, nqnA))
	s.mu.Lock()
	s.exported[nqnB] = true
	s.mu.Unlock()
	device := n.mustConnect(t, nqnB)
	if got := attachedTo(t, s.file); !slices.Equal(got, []string{device}) {
		t.Errorf("attached: %v, want only the new %s", got, device)
	}
	if isMounted(t, staging) {
		t.Error("the old epoch is still mounted")
	}
	if got := n.connections(t); len(got) != 1 || got[nqnB] != device {
		t.Errorf("connections %v, want the new one only", got)
	}
}

func TestRestartFindsWhatIsAttached(t *testing.T) {
	needLoops(t)
	s := newTarget(t)
	state := filepath.Join(t.TempDir(), "a")
	first := startNode(t, s, state)
	device := first.mustConnect(t, nqnA)
	staging, _ := mounted(t, device)
	first.stop()
	if !isMounted(t, staging) {
		t.Fatal("stopping the process took the mount away")
	}
	second := startNode(t, s, state)
	if got := second.connections(t); got[nqnA] != device {
		t.Errorf("connections after a restart: %v, want %s", got, device)
	}
	eventually(t, "it is connected again", func() bool {
		again, err := second.connectTo(t, nqnA)
		return err == nil && again == device
	})
	s.withdraw()
	eventually(t, "the revocation is confirmed", func() bool { return s.hasEnded("s2") })
	s.checkHonest(t)
}

func TestRestartAfterRevocationGivesTheDeviceUp(t *testing.T) {
	needLoops(t)
	s := newTarget(t)
	state := filepath.Join(t.TempDir(), "a")
	first := startNode(t, s, state)
	staging, _ := mounted(t, first.mustConnect(t, nqnA))
	first.stop()
	s.withdraw()
	startNode(t, s, state)
	eventually(t, "the revocation is confirmed", func() bool { return s.hasEnded("s1") })
	s.checkHonest(t)
	if isMounted(t, staging) {
		t.Error("still mounted after the confirmation")
	}
}

func TestBrokenStreamKeepsTheDevice(t *testing.T) {
	needLoops(t)
	s := newTarget(t)
	n := startNode(t, s, filepath.Join(t.TempDir(), "a"))
	device := n.mustConnect(t, nqnA)
	s.breakStreams()
	eventually(t, "there is a second session", func() bool { return s.sessions() == 2 })
	eventually(t, "it is usable again", func() bool {
		again, err := n.connectTo(t, nqnA)
		return err == nil && again == device
	})
	if got := attachedTo(t, s.file); !slices.Equal(got, []string{device}) {
		t.Errorf("attached: %v, want %s throughout", got, device)
	}
}

func TestRescanTakesOverTheSizeOfTheFile(t *testing.T) {
	needLoops(t)
	s := newTarget(t)
	n := startNode(t, s, filepath.Join(t.TempDir(), "a"))
	if err := n.Rescan(t.Context(), nqnA); !errors.Is(err, errNotConnected) {
		t.Errorf("rescan of what isn't connected: %v, want %v", err, errNotConnected)
	}
	device := n.mustConnect(t, nqnA)
	if err := os.Truncate(s.file, 96<<20); err != nil {
		t.Fatal(err)
	}
	if err := n.Rescan(t.Context(), nqnA); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(device)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	if size, err := file.Seek(0, io.SeekEnd); err != nil || size != 96<<20 {
		t.Errorf("size after the rescan: %d, %v, want %d", size, err, 96<<20)
	}
}

func TestUnreadableStateIsAnError(t *testing.T) {
	state := filepath.Join(t.TempDir(), "connections.json")
	if err := os.WriteFile(state, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := newConnector(newSimulator("http://127.0.0.1:1", "h"), state); err == nil {
		t.Error("newConnector with a damaged state file = nil error, want one")
	}
}

// Whoever looks before it attaches may still be too late: many at once must not end with two devices on one file.
func TestRaceForOneFileHasAtMostOneWinner(t *testing.T) {
	needLoops(t)
	s := newTarget(t)
	startNode(t, s, filepath.Join(t.TempDir(), "a")) // cleans up
	var (
		race sync.WaitGroup
		won  = make(chan string, 8)
	)
	for range cap(won) {
		race.Go(func() {
			if device, err := attachLoop(s.file); err == nil {
				won <- device
			}
		})
	}
	race.Wait()
	if len(won) > 1 {
		t.Errorf("%d attached the same file, want at most one", len(won))
	}
	eventually(t, "the losers' devices are gone", func() bool { return len(attachedTo(t, s.file)) == len(won) })
}
