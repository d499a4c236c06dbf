package nvme

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// tree is a folder that looks like the kernel's, with what its target exports.
type tree struct {
	t    *testing.T
	root string
	// multipath has devices belong to subsystems.
	multipath bool
	// exported is what the target lets in.
	exported map[string]bool
	mu       sync.Mutex
	next     int
	requests []string
}

func newTree(t *testing.T, multipath bool) *tree {
	t.Helper()
	k := &tree{t: t, root: t.TempDir(), multipath: multipath, exported: map[string]bool{}}
	k.folder("dev")
	return k
}

// initiator is one whose kernel is the tree.
func (k *tree) initiator() *Initiator {
	i := New(Config{Host: HostOf("machine-a"), Root: k.root})
	i.addController = k.addController
	i.checkDevice = func(path string, _ blockDevice) error {
		if _, err := os.Stat(path); err != nil {
			return fmt.Errorf("%w: %w", ErrNoDevice, err)
		}
		return nil
	}
	return i
}

func (k *tree) folder(path string) string {
	k.t.Helper()
	path = filepath.Join(k.root, path)
	if err := os.MkdirAll(path, 0o700); err != nil {
		k.t.Fatal(err)
	}
	return path
}

func (k *tree) write(folder, name, value string) {
	k.t.Helper()
	if err := os.WriteFile(filepath.Join(folder, name), []byte(value+"\n"), 0o600); err != nil {
		k.t.Fatal(err)
	}
}

// subsystem makes one, or gives the one that is there.
func (k *tree) subsystem(nqn string) string {
	k.t.Helper()
	all := filepath.Join(k.root, "sys/class/nvme-subsystem")
	names, _ := list(all, nil)
	for _, name := range names {
		if found, _ := attribute(filepath.Join(all, name), "subsysnqn"); found == nqn {
			return filepath.Join(all, name)
		}
	}
	k.next++
	folder := k.folder(fmt.Sprintf("sys/class/nvme-subsystem/nvme-subsys%d", k.next))
	k.write(folder, "subsysnqn", nqn)
	return folder
}

// connect makes a controller, with a device unless there is one for the subsystem already. It returns its name.
func (k *tree) connect(nqn, state string) string {
	k.t.Helper()
	subsystem := k.subsystem(nqn)
	k.next++
	name := fmt.Sprintf("nvme%d", k.next)
	folder := k.folder("sys/class/nvme/" + name)
	k.write(folder, "subsysnqn", nqn)
	k.write(folder, "state", state)
	k.write(folder, "delete_controller", "")
	k.write(folder, "rescan_controller", "")
	if err := os.Symlink(folder, filepath.Join(subsystem, name)); err != nil {
		k.t.Fatal(err)
	}
	owner := folder
	if k.multipath {
		k.write(k.folder("sys/class/nvme/"+name+"/nvme0c0n1"), "dev", "259:9")
		owner = subsystem
		if devices, _ := list(owner, deviceName); len(devices) > 0 {
			return name
		}
	}
	k.device(owner, fmt.Sprintf("nvme%dn1", k.next))
	return name
}

func (k *tree) device(owner, name string) {
	k.t.Helper()
	folder := filepath.Join(owner, name)
	if err := os.Mkdir(folder, 0o700); err != nil {
		k.t.Fatal(err)
	}
	k.write(folder, "dev", "259:7")
	k.write(filepath.Join(k.root, "dev"), name, "")
}

// hide takes the device of a controller, or of its subsystem, out of sysfs until show is called.
func (k *tree) hide(controller string) (show func()) {
	k.t.Helper()
	for _, pattern := range []string{"sys/class/nvme/" + controller, "sys/class/nvme-subsystem/*"} {
		found, _ := filepath.Glob(filepath.Join(k.root, pattern, "nvme*n1"))
		for _, folder := range found {
			if !deviceName.MatchString(filepath.Base(folder)) {
				continue
			}
			aside := filepath.Join(k.folder("aside"), filepath.Base(folder))
			if err := os.Rename(folder, aside); err != nil {
				k.t.Fatal(err)
			}
			return func() { _ = os.Rename(aside, folder) }
		}
	}
	k.t.Fatalf("controller %s has no device", controller)
	return nil
}

// written is what was written to an attribute of a controller, "" if nothing.
func (k *tree) written(controller, name string) string {
	value, _ := attribute(filepath.Join(k.root, "sys/class/nvme", controller), name)
	return value
}

// remove has the kernel take a controller away.
func (k *tree) remove(controller string) {
	_ = os.RemoveAll(filepath.Join(k.root, "sys/class/nvme", controller))
	links, _ := filepath.Glob(filepath.Join(k.root, "sys/class/nvme-subsystem/*", controller))
	for _, link := range links {
		_ = os.Remove(link)
	}
}

// addController plays /dev/nvme-fabrics.
func (k *tree) addController(options string) (string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.requests = append(k.requests, options)
	nqn, _, _ := strings.Cut(strings.TrimPrefix(options, "nqn="), ",")
	if !k.exported[nqn] {
		return "", syscall.EIO
	}
	name := k.connect(nqn, "live")
	return "instance=" + strings.TrimPrefix(name, "nvme") + ",cntlid=1\n", nil
}
