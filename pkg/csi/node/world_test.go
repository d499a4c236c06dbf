package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	gocmp "github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"k8s.io/mount-utils"
	utilexec "k8s.io/utils/exec"
	testingexec "k8s.io/utils/exec/testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/publishcontext"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/node/host"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/test/requests"
)

const (
	testVolume = "raid10/rds-csi/cluster-1/csi-0123456789abcdef0123456789ab"
	epochA     = "aaaaaaaaaaaaaaaa"
	epochB     = "bbbbbbbbbbbbbbbb"
)

func subsystemNQN(t *testing.T, epoch string) string {
	t.Helper()
	volume, err := rds.ParseVolumeID(testVolume)
	if err != nil {
		t.Fatal(err)
	}
	return volume.SubsystemPrefix() + epoch
}

// nodeWorld is a node service with everything around it faked: mounts are entries in a list, devices are files of
// 4 MiB, and a filesystem is a few bytes in them.
type nodeWorld struct {
	*Service
	t         *testing.T
	folder    string
	mounts    *fakeMounts
	connector *fakeConnector
	commands  *fakeCommands
	observer  *fakeNodeObserver
	staging   string
	target    string
}

func newNodeWorld(t *testing.T) *nodeWorld {
	t.Helper()
	folder, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	w := &nodeWorld{
		t: t, folder: folder, mounts: newFakeMounts(), observer: &fakeNodeObserver{},
		staging: filepath.Join(folder, "globalmount"), target: filepath.Join(folder, "pod"),
	}
	w.connector = &fakeConnector{mounts: w.mounts, states: map[string]string{}, admits: map[string]bool{subsystemNQN(t, epochA): true}, devices: map[string]string{}, owners: map[host.DeviceNumber]string{}, folder: folder}
	w.commands = &fakeCommands{mounts: w.mounts}
	if err := os.Mkdir(w.staging, 0o750); err != nil {
		t.Fatal(err)
	}
	w.Service, err = New(Config{NodeName: "worker-1", MachineIdentity: "machine-1", MaxVolumes: 7}, w.connector, w.mounts, w.commands, w.observer)
	if err != nil {
		t.Fatal(err)
	}
	w.host = host.New(w.mounts, w.mounts, w.commands)
	t.Cleanup(func() {
		for path, times := range w.mounts.opened {
			if times != 0 {
				t.Errorf("%s is still open %d times", path, times)
			}
		}
	})
	return w
}

func publishContextOf(t *testing.T, epoch string) map[string]string {
	t.Helper()
	target := nvme.Target{SubsystemNQN: subsystemNQN(t, epoch), Address: "192.0.2.1", Port: 4420}
	grant := attach.Grant{Node: attach.NodeID{Name: "worker-1", Machine: "machine-1"}, SubsystemNQN: target.SubsystemNQN, Generation: 1, Access: attach.AccessMount, Mode: "single-node-writer"}
	return publishcontext.Context{Target: target, Grant: grant}.Encode()
}

func (w *nodeWorld) stageRequest(t *testing.T, epoch string) *csi.NodeStageVolumeRequest {
	t.Helper()
	return &csi.NodeStageVolumeRequest{
		VolumeId: testVolume, StagingTargetPath: w.staging, VolumeCapability: requests.Writer("ext4"), PublishContext: publishContextOf(t, epoch),
	}
}

func (w *nodeWorld) publishRequest(t *testing.T, epoch string) *csi.NodePublishVolumeRequest {
	t.Helper()
	return &csi.NodePublishVolumeRequest{
		VolumeId: testVolume, StagingTargetPath: w.staging, TargetPath: w.target,
		VolumeCapability: requests.Writer("ext4"), PublishContext: publishContextOf(t, epoch),
	}
}

func (w *nodeWorld) mustStage(t *testing.T, epoch string) {
	t.Helper()
	if _, err := w.NodeStageVolume(t.Context(), w.stageRequest(t, epoch)); err != nil {
		t.Fatalf("stage epoch %s: %v", epoch, err)
	}
}

func (w *nodeWorld) mustPublish(t *testing.T, epoch string) {
	t.Helper()
	if _, err := w.NodePublishVolume(t.Context(), w.publishRequest(t, epoch)); err != nil {
		t.Fatalf("publish epoch %s: %v", epoch, err)
	}
}

// mountedAt names the devices at a path, the lowest first.
func (w *nodeWorld) mountedAt(path string) []string {
	var devices []string
	for _, m := range w.mounts.table {
		if m.MountPoint == path {
			devices = append(devices, filepath.Base(m.Source))
		}
	}
	return devices
}

// fakeMounts is a kernel with a mount table and numbered devices. It can fail to be read, to mount, and to end
// unmounting.
type fakeMounts struct {
	host.Linux
	mutex                 sync.Mutex      // of the table, which may be read beside a change
	disk                  mount.MountInfo // what all paths are on that nothing is mounted at; not part of table
	table                 []mount.MountInfo
	numbers               map[string]host.DeviceNumber // by path, of devices
	nodes                 map[string]host.DeviceNumber // by path, of mounted device nodes
	unwritable            map[string]bool              // by path
	protected             map[string][]bool            // by path: what unwritable was set to
	sizes                 map[string]int64             // by path, where it isn't the file's
	opened                map[string]int               // by path: how often a device is open
	fullness              func(path string) (unix.Statfs_t, error)
	listFails, mountFails error
	protectFails          error
	hang                  chan struct{} // unmounting waits until it is closed
	onUnmount             func()
	onOpen                func(path string)
	uses                  fakeUses
	used                  func() (bool, error) // of any device; nil: not
}

func newFakeMounts() *fakeMounts {
	disk := mount.MountInfo{ID: 1, MountPoint: "/", Root: "/", FsType: "ext4", Major: 254, OptionalFields: []string{"shared:1"}}
	return &fakeMounts{disk: disk, numbers: map[string]host.DeviceNumber{}, nodes: map[string]host.DeviceNumber{}, unwritable: map[string]bool{}, protected: map[string][]bool{}, sizes: map[string]int64{}, opened: map[string]int{}}
}

func (m *fakeMounts) Mounts() ([]mount.MountInfo, error) {
	if m.listFails != nil {
		return nil, m.listFails
	}
	m.mutex.Lock()
	defer m.mutex.Unlock()
	return append([]mount.MountInfo{m.disk}, m.table...), nil
}

func (m *fakeMounts) Number(path string) (host.DeviceNumber, error) {
	if number, mounted := m.nodes[path]; mounted {
		return number, nil
	}
	if number, found := m.numbers[path]; found {
		return number, nil
	}
	if _, err := os.Lstat(path); err != nil {
		return 0, err
	}
	return 0, host.ErrNoDevice
}

// openDevice is a device that is open until it is closed.
type openDevice func()

func (d openDevice) Close() error {
	d()
	return nil
}

func (m *fakeMounts) Open(path string) (io.Closer, host.DeviceNumber, error) {
	number, err := m.Number(path)
	if err != nil {
		return nil, 0, err
	}
	m.countOpen(path, 1)
	if m.onOpen != nil {
		m.onOpen(path)
	}
	return openDevice(func() { m.countOpen(path, -1) }), number, nil
}

func (m *fakeMounts) countOpen(path string, change int) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.opened[path] += change
}

// reusable reports whether path is that of a device that isn't open: a kernel might have given it to another volume by
// now.
func (m *fakeMounts) reusable(path string) bool {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	_, isDevice := m.numbers[path]
	return isDevice && m.opened[path] == 0
}

func (m *fakeMounts) Size(device string) (int64, error) {
	if size, set := m.sizes[device]; set {
		return size, nil
	}
	return m.Linux.Size(device)
}

func (m *fakeMounts) Usage(path string) (unix.Statfs_t, error) {
	if m.fullness != nil {
		return m.fullness(path)
	}
	return unix.Statfs_t{}, nil
}

func (m *fakeMounts) SetReadOnly(device string, readOnly bool) error {
	if m.protectFails != nil {
		return m.protectFails
	}
	m.unwritable[device] = readOnly
	m.protected[device] = append(m.protected[device], readOnly)
	return nil
}

func (m *fakeMounts) Mount(source, target, kind string, options []string) error {
	if resolved, err := filepath.EvalSymlinks(target); err == nil {
		target = resolved
	}
	if m.reusable(source) {
		return fmt.Errorf("%s may be another volume's by now", source)
	}
	m.mutex.Lock()
	defer m.mutex.Unlock()
	entry := mount.MountInfo{Source: source, MountPoint: target, FsType: kind, Root: "/", MountOptions: options, SuperOptions: []string{"rw"}}
	number, isDevice := m.numbers[source]
	if isDevice {
		entry.Major, entry.Minor = int(unix.Major(uint64(number))), int(unix.Minor(uint64(number)))
	}
	switch {
	case slices.Contains(options, "bind") && isDevice:
		entry.Source, entry.FsType, entry.Root, entry.Major, entry.Minor = "devtmpfs", "devtmpfs", "/"+filepath.Base(source), 0, 6
		m.nodes[target] = number
	case slices.Contains(options, "bind"):
		// A bind mount shows what it binds.
		for _, below := range m.table {
			if below.MountPoint == source {
				entry.Source, entry.FsType, entry.Major, entry.Minor = below.Source, below.FsType, below.Major, below.Minor
			}
		}
	}
	m.table = append(m.table, entry)
	return m.mountFails
}

// Unmount takes away one mount at a time, as a kernel does.
func (m *fakeMounts) Unmount(path string) error {
	if m.hang != nil {
		<-m.hang
	}
	if m.onUnmount != nil {
		m.onUnmount()
	}
	m.mutex.Lock()
	defer m.mutex.Unlock()
	for i, entry := range slices.Backward(m.table) {
		if entry.MountPoint == path {
			m.table = slices.Delete(m.table, i, i+1)
			delete(m.nodes, path)
			return nil
		}
	}
	return fmt.Errorf("%s: not mounted", path)
}

func sameMount(a, b mount.MountInfo) bool { return gocmp.Equal(a, b) }

// fakeCommands plays blkid, wipefs, mkfs, e2fsck, the commands that grow a filesystem, and umount; answers overrides one of
// them.
type fakeCommands struct {
	utilexec.Interface
	mounts  *fakeMounts
	ran     []string
	onRun   func(name string)
	answers map[string]answer
}

type answer struct {
	output string
	status int
}

const (
	superblockAt = 1024
	magic        = "filesystem:"
)

func (c *fakeCommands) CommandContext(_ context.Context, name string, arguments ...string) utilexec.Cmd {
	c.ran = append(c.ran, strings.Join(append([]string{name}, arguments...), " "))
	return &testingexec.FakeCmd{CombinedOutputScript: []testingexec.FakeAction{func() ([]byte, []byte, error) {
		if c.onRun != nil {
			c.onRun(name)
		}
		given, overridden := c.answers[name]
		if !overridden {
			given = c.play(name, arguments)
		}
		if given.status != 0 {
			return []byte(given.output), nil, testingexec.FakeExitError{Status: given.status}
		}
		return []byte(given.output), nil, nil
	}}}
}

// Command is for package mount, which knows no contexts.
func (c *fakeCommands) Command(name string, arguments ...string) utilexec.Cmd {
	return c.CommandContext(context.Background(), name, arguments...)
}

func (c *fakeCommands) play(name string, arguments []string) answer {
	last := arguments[len(arguments)-1]
	if c.mounts.reusable(last) {
		return answer{output: last + " may be another volume's by now", status: 8}
	}
	switch name {
	case "blkid":
		content, err := os.ReadFile(last)
		if err != nil {
			return answer{output: "error: " + err.Error(), status: 2}
		}
		kind, found := bytes.CutPrefix(content[superblockAt:], []byte(magic))
		if !found {
			return answer{status: 2}
		}
		return answer{output: "DEVNAME=" + last + "\nTYPE=" + string(kind[:bytes.IndexByte(kind, 0)]) + "\nUSAGE=filesystem\n"}
	case "wipefs", "e2fsck", "resize2fs", "xfs_growfs":
		return answer{}
	case "umount":
		if err := c.mounts.Unmount(last); err != nil {
			return answer{output: err.Error(), status: 32}
		}
		return answer{}
	default:
		kind, isFormat := strings.CutPrefix(name, "mkfs.")
		if !isFormat || writeAt(last, superblockAt, magic+kind+"\x00") != nil {
			return answer{output: "can't", status: 1}
		}
		return answer{}
	}
}

func (c *fakeCommands) count(prefix string) int {
	return len(slices.DeleteFunc(slices.Clone(c.ran), func(command string) bool { return !strings.HasPrefix(command, prefix) }))
}

func writeAt(path string, offset int64, text string) error {
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = file.WriteAt([]byte(text), offset)
	return errors.Join(err, file.Close())
}

// fakeNodeObserver counts.
type fakeNodeObserver struct{ lost, reconnected, failed int }

func (o *fakeNodeObserver) CountConnectionLost() { o.lost++ }

func (o *fakeNodeObserver) CountReconnect(err error) {
	if err != nil {
		o.failed++
		return
	}
	o.reconnected++
}

// mustRemove unpublishes and unstages the volume, each once more than needed, and leaves nothing behind.
func (w *nodeWorld) mustRemove(t *testing.T) {
	t.Helper()
	for range 2 {
		if err := w.unpublish(t); err != nil {
			t.Fatalf("unpublish: %v", err)
		}
	}
	if _, err := os.Lstat(w.target); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("target path after unpublish: %v, want it gone", err)
	}
	for range 2 {
		if err := w.unstage(t); err != nil {
			t.Fatalf("unstage: %v", err)
		}
	}
	if len(w.mounts.table) != 0 || len(w.connector.devices) != 0 {
		t.Fatalf("left behind: mounts %v, connections %v", w.mounts.table, w.connector.devices)
	}
}
