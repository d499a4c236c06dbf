package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/mount-utils"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
)

// errNoMount says that the mount table has no mount that a path is on.
var errNoMount = errors.New("the mount table of this process doesn't have it")

// errOwnDev says that /dev isn't the host's.
var errOwnDev = errors.New("/dev isn't the host's, so the devices of volumes would never show up")

// CheckShared returns failure.ErrNotShared unless what is mounted in the folder shows up on the host, and what is
// unmounted there goes away on it. For that, the mount that the folder is on must be shared: a driver in a container has
// a copy of it.
func (h *Host) CheckShared(folder string) error {
	on, err := h.mountUnder(folder)
	if err != nil {
		return err
	}
	if isShared := func(field string) bool { return strings.HasPrefix(field, "shared:") }; slices.ContainsFunc(on.OptionalFields, isShared) {
		return nil
	}
	return fmt.Errorf("%w: %s is on the mount %s, which isn't shared; give the node plugin's container kubelet's folder with mountPropagation: Bidirectional, and make it shared on the host (mount --make-rshared /)",
		failure.ErrNotShared, folder, on.MountPoint)
}

// CheckDev returns an error unless /dev is the host's devtmpfs. The kernel makes the node of a new device there only; a
// container has a /dev of its own, with the nodes that it began with.
func (h *Host) CheckDev() error {
	on, err := h.mountUnder("/dev")
	if err == nil && on.FsType != "devtmpfs" {
		err = fmt.Errorf("%w: it is on the mount %s (%s); give the node plugin's container the host's /dev as a hostPath volume", errOwnDev, on.MountPoint, on.FsType)
	}
	return err
}

// mountUnder returns the mount that a folder is on.
func (h *Host) mountUnder(folder string) (mount.MountInfo, error) {
	resolved, err := filepath.EvalSymlinks(folder)
	if err != nil {
		return mount.MountInfo{}, fmt.Errorf("look for the mount of %s: %w", folder, nameLacking(err, dacReadSearch))
	}
	table, err := h.Mounts()
	if err != nil {
		return mount.MountInfo{}, fmt.Errorf("read the mount table: %w", err)
	}
	on, found := descend(table, resolved)
	if !found {
		return mount.MountInfo{}, fmt.Errorf("look for the mount of %s: %w", folder, errNoMount)
	}
	return on, nil
}

// descend follows a path from the root through the mounts, as the kernel does. Neither the longest mount point nor the
// last mount is the answer: a mount may lie below a later one, and the table isn't in the order of the mounts' ages.
func descend(table []mount.MountInfo, path string) (on mount.MountInfo, found bool) {
	at := slices.IndexFunc(table, func(m mount.MountInfo) bool { return m.MountPoint == "/" && !isOnRoot(table, m) })
	for at >= 0 {
		on, found = table[at], true
		at = -1
		for i, m := range table {
			// Of the mounts on this one, the path reaches the highest first.
			onThis := m.ParentID == on.ID && m.ID != on.ID && Within(m.MountPoint, path)
			if onThis && (at < 0 || len(m.MountPoint) < len(table[at].MountPoint)) {
				at = i
			}
		}
	}
	return on, found
}

// isOnRoot reports whether the mount lies on another one that is mounted at the root.
func isOnRoot(table []mount.MountInfo, m mount.MountInfo) bool {
	return slices.ContainsFunc(table, func(other mount.MountInfo) bool {
		return other.ID == m.ParentID && other.ID != m.ID && other.MountPoint == "/"
	})
}

// Within reports whether path is the folder, or below it. Both must be clean.
func Within(folder, path string) bool {
	return folder == "/" || path == folder || strings.HasPrefix(path, folder+"/")
}

// checkSharedParent is CheckShared for the folder that has the mount point. A folder that doesn't exist is no error:
// nothing is mounted there.
func (h *Host) checkSharedParent(path string) error {
	err := h.CheckShared(filepath.Dir(path))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// CheckMountPoints returns failure.ErrNotShared unless what is mounted at each of the paths shows up on the host.
func (h *Host) CheckMountPoints(paths ...string) error {
	for _, path := range paths {
		if err := h.checkSharedParent(path); err != nil {
			return fmt.Errorf("mount at %s: %w", path, err)
		}
	}
	return nil
}
