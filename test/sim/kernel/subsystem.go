package kernel

import (
	"errors"
	"os"
	"path/filepath"
	"slices"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/export"
)

// step is one change in configfs.
type step func() error

// inOrder takes the steps until one fails.
func inOrder(steps ...step) error {
	for _, s := range steps {
		if err := s(); err != nil {
			return err
		}
	}
	return nil
}

// put writes an attribute.
func put(folder, name, value string) step {
	return func() error { return os.WriteFile(filepath.Join(folder, name), []byte(value), 0o600) }
}

// folder of a subsystem.
func folder(nqn string) string { return filepath.Join(root, "subsystems", nqn) }

// publish makes a subsystem with the backing file as its only namespace. The
// page cache stands between the two: not every file system that holds the
// simulator's files can do without.
func publish(s export.Subsystem) error {
	dir := folder(s.NQN)
	namespace := filepath.Join(dir, "namespaces", "1")
	return inOrder(
		func() error { return os.Mkdir(dir, 0o750) },
		put(dir, "attr_serial", s.Serial),
		allow(s),
		func() error { return os.Mkdir(namespace, 0o750) },
		put(namespace, "device_path", s.File),
		put(namespace, "device_uuid", s.UUID),
		put(namespace, "buffered_io", "1"),
		put(namespace, "enable", "1"),
	)
}

// allow lets the one host in, or all of them. A host that is connected stays
// connected, and one that stays allowed is so at every moment.
func allow(s export.Subsystem) step {
	dir := folder(s.NQN)
	return func() error {
		if s.AllowHost == "" {
			return inOrder(func() error { return forbid(dir) }, put(dir, "attr_allow_any_host", "1"))
		}
		if slices.Equal(names(filepath.Join(dir, "allowed_hosts")), []string{s.AllowHost}) {
			return nil
		}
		host := filepath.Join(root, "hosts", s.AllowHost)
		return inOrder(
			func() error { return forbid(dir) },
			put(dir, "attr_allow_any_host", "0"),
			func() error { return os.MkdirAll(host, 0o750) },
			func() error { return os.Symlink(host, filepath.Join(dir, "allowed_hosts", s.AllowHost)) },
		)
	}
}

// forbid takes every host off the list. Those that no other subsystem lets in
// go altogether.
func forbid(dir string) error {
	hosts := filepath.Join(dir, "allowed_hosts")
	for _, host := range names(hosts) {
		if err := os.Remove(filepath.Join(hosts, host)); err != nil {
			return err
		}
		_ = os.Remove(filepath.Join(root, "hosts", host))
	}
	return nil
}

// remove takes a subsystem away, as far as it is there. Taking the namespace
// away waits for what is being written to it.
func remove(nqn string) error {
	dir := folder(nqn)
	return errors.Join(
		gone(filepath.Join(dir, "namespaces", "1")),
		forbid(dir),
		gone(dir),
	)
}

// gone removes what may be gone already.
func gone(path string) error {
	if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// names lists a folder, one that isn't there as empty.
func names(folder string) []string {
	entries, _ := os.ReadDir(folder)
	list := make([]string, 0, len(entries))
	for _, entry := range entries {
		list = append(list, entry.Name())
	}
	return list
}
