package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// DriverName is the CSI driver's name, under which nodes register and which the StorageClass names.
const DriverName = "rds.csi.srvlab.io"

// longestFolder keeps the sockets below a run folder within the 107 bytes that the kernel allows for a socket's path.
const longestFolder = 48

// ErrFolder says that a run folder can't be used; nothing in it was touched.
var ErrFolder = errors.New("run folder can't be used")

// runFolder is the one folder below which a run keeps everything: keys, data, sockets, logs, mounts.
type runFolder string

// resolveFolder turns the path that the user gave into the one that the kernel shows in its mount table.
func resolveFolder(path string) (runFolder, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("run folder %q: %w", path, err)
	}
	parent, err := filepath.EvalSymlinks(filepath.Dir(absolute))
	if err != nil {
		return "", fmt.Errorf("run folder %q: %w", path, err)
	}
	folder := filepath.Join(parent, filepath.Base(absolute))
	if len(folder) > longestFolder {
		return "", fmt.Errorf("%w: %q has %d bytes, and sockets below it leave room for %d: choose a shorter path", ErrFolder, folder, len(folder), longestFolder)
	}
	if strings.ContainsAny(folder, " \t\n\\") {
		return "", fmt.Errorf("%w: %q contains white space or a backslash", ErrFolder, folder)
	}
	if info, err := os.Lstat(folder); err == nil && !info.IsDir() {
		return "", fmt.Errorf("%w: %q isn't a folder", ErrFolder, folder)
	}
	return runFolder(folder), nil
}

// prepare empties what an earlier, ended run left behind and makes the folders of a new one. A folder that holds
// something else, or a run that still lives, is refused.
func (f runFolder) prepare() error {
	entries, err := os.ReadDir(string(f))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("read the run folder: %w", err)
	}
	if len(entries) > 0 {
		if err := f.clear(); err != nil {
			return err
		}
	}
	for _, name := range []string{"logs", "pki", "etcd", "appliance", "manifests", "nodes"} {
		if err := os.MkdirAll(f.path(name), 0o700); err != nil {
			return fmt.Errorf("make the run folder: %w", err)
		}
	}
	return f.ledger().reset()
}

func (f runFolder) clear() error {
	records, err := f.ledger().read()
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w: %s isn't empty and isn't an earlier run's: choose another one", ErrFolder, f)
	}
	if err != nil {
		return err
	}
	if alive := living(records); len(alive) > 0 {
		return fmt.Errorf("%w: %s belongs to a run that lives (%s): stop that first (demo down)", ErrFolder, f, strings.Join(alive, ", "))
	}
	// Nothing may be mounted below when files are removed, or the removal would reach into somebody's volume.
	if err := releaseBelow(f); err != nil {
		return err
	}
	if err := os.RemoveAll(string(f)); err != nil {
		return fmt.Errorf("remove the earlier run's folder: %w", err)
	}
	return nil
}

func (f runFolder) path(elements ...string) string {
	return filepath.Join(append([]string{string(f)}, elements...)...)
}

func (f runFolder) log(process string) string { return f.path("logs", process+".log") }

func (f runFolder) ledger() ledger { return ledger(f.path("processes.jsonl")) }

func (f runFolder) kubeletRoot(node string) string { return f.path("nodes", node) }
