package appliance

import (
	"cmp"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
)

// Tree is /file as SFTP shows it. Names may have a leading slash.
type Tree struct{ appliance *Appliance }

// Tree gives access to the files, for who has the policy ftp.
func (a *Appliance) Tree() Tree { return Tree{a} }

// remoteInfo is what SFTP says about a file: its size is not to be relied on.
type remoteInfo struct {
	fs.FileInfo

	exact bool
}

// Size is 0 where the appliance reports sizes wrongly.
func (i remoteInfo) Size() int64 {
	if i.exact {
		return i.FileInfo.Size()
	}
	return 0
}

// treeName is the name below the root directory of the pools.
func treeName(name string) string {
	return cmp.Or(strings.TrimPrefix(path.Clean("/"+name), "/"), ".")
}

// Stat describes a file or directory.
func (t Tree) Stat(name string) (fs.FileInfo, error) {
	t.appliance.mu.Lock()
	defer t.appliance.mu.Unlock()
	return t.stat(treeName(name))
}

func (t Tree) stat(name string) (fs.FileInfo, error) {
	if name != "." {
		if err := t.appliance.checkFile(name); err != nil {
			return nil, fs.ErrNotExist
		}
	}
	info, err := t.appliance.files.Stat(name)
	if err != nil {
		return nil, err
	}
	return remoteInfo{FileInfo: info, exact: t.appliance.options.Unknowns.ExactSFTPSizes}, nil
}

// List describes what is in a directory.
func (t Tree) List(name string) ([]fs.FileInfo, error) {
	t.appliance.mu.Lock()
	defer t.appliance.mu.Unlock()
	directory := treeName(name)
	if _, err := t.stat(directory); err != nil {
		return nil, err
	}
	rows, err := t.appliance.fileRows()
	if err != nil {
		return nil, err
	}
	var infos []fs.FileInfo
	for _, row := range rows {
		file, _ := row["name"].(string)
		if path.Dir(file) != directory {
			continue
		}
		if info, err := t.stat(file); err == nil {
			infos = append(infos, info)
		}
	}
	return infos, nil
}

// Open reads a file.
func (t Tree) Open(name string) (io.ReaderAt, error) {
	t.appliance.mu.Lock()
	defer t.appliance.mu.Unlock()
	name = treeName(name)
	if _, err := t.stat(name); err != nil {
		return nil, err
	}
	return t.appliance.files.Open(name)
}

// Create writes a file, as long as its pool has room.
func (t Tree) Create(name string, flags int) (io.WriterAt, error) {
	t.appliance.mu.Lock()
	defer t.appliance.mu.Unlock()
	name = treeName(name)
	if _, err := t.stat(path.Dir(name)); err != nil || !strings.Contains(name, "/") {
		return nil, fs.ErrNotExist
	}
	file, err := t.appliance.files.OpenFile(name, flags, 0o600)
	if err != nil {
		return nil, err
	}
	return upload{File: file, tree: t, name: name}, nil
}

// upload is a file that a client writes.
type upload struct {
	*os.File

	tree Tree
	name string
}

// WriteAt writes what the pool has room for.
func (u upload) WriteAt(data []byte, offset int64) (int, error) {
	a := u.tree.appliance
	a.mu.Lock()
	defer a.mu.Unlock()
	info, err := u.Stat()
	if err != nil {
		return 0, err
	}
	if end := offset + int64(len(data)); end > info.Size() {
		if err := a.resizeFile(u.name, end); err != nil {
			return 0, err
		}
	}
	return u.File.WriteAt(data, offset)
}

// Truncate sets the size of a file.
func (t Tree) Truncate(name string, size int64) error {
	t.appliance.mu.Lock()
	defer t.appliance.mu.Unlock()
	name = treeName(name)
	if _, err := t.stat(name); err != nil {
		return err
	}
	if size < 0 {
		return fs.ErrInvalid
	}
	return t.appliance.resizeFile(name, size)
}

// Mkdir makes a directory in one that is there.
func (t Tree) Mkdir(name string) error {
	t.appliance.mu.Lock()
	defer t.appliance.mu.Unlock()
	name = treeName(name)
	if _, err := t.stat(path.Dir(name)); err != nil {
		return err
	}
	return t.appliance.files.Mkdir(name, 0o750)
}

// Remove removes a file or an empty directory.
func (t Tree) Remove(name string) error {
	a := t.appliance
	a.mu.Lock()
	defer a.mu.Unlock()
	name = treeName(name)
	if _, err := t.stat(name); err != nil {
		return err
	}
	pool := slices.ContainsFunc(a.options.Pools, func(p Pool) bool { return p.Name == name })
	if pool || a.options.Unknowns.RefuseLiveFileRemove && a.backs(name) {
		return fs.ErrPermission
	}
	return a.files.Remove(name)
}

// Rename moves a file, if the appliance can do that at all.
func (t Tree) Rename(from, to string) error {
	a := t.appliance
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.options.Unknowns.SFTPRename {
		return fmt.Errorf("rename %s: %w", from, fs.ErrPermission)
	}
	from, to = treeName(from), treeName(to)
	if _, err := t.stat(from); err != nil {
		return err
	}
	if _, err := t.stat(to); err == nil {
		return fs.ErrExist
	}
	return a.files.Rename(from, to)
}
