package appliance

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/script"
)

// fileItems lists every file and directory. Ids derive from the names, so that
// one kept in a variable never comes to mean another file.
func (a *Appliance) fileItems() ([]item, error) {
	if !a.mounted() {
		return nil, nil
	}
	var items []item
	err := fs.WalkDir(a.files.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return unlessGone(err)
		}
		sketch := script.Record{".id": fileID(name), "name": name, "type": fileType(entry)}
		items = append(items, item{sketch, func() (script.Record, error) { return fileRow(sketch, entry) }})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list files: %w", err)
	}
	return items, nil
}

// fileRow is the row of a file or directory; nil if it is gone.
func fileRow(sketch script.Record, entry fs.DirEntry) (script.Record, error) {
	info, err := entry.Info()
	if err != nil {
		return nil, unlessGone(err)
	}
	row := maps.Clone(sketch)
	row["last-modified"] = info.ModTime().Format("2006-01-02 15:04:05")
	if !entry.IsDir() {
		row["size"] = info.Size()
	}
	return row, nil
}

// fileRows lists every file and directory in full.
func (a *Appliance) fileRows() ([]script.Record, error) {
	items, err := a.fileItems()
	if err != nil {
		return nil, err
	}
	return rows(items, script.Call{})
}

// listedFiles are the items that /file shows.
func (a *Appliance) listedFiles() ([]item, error) {
	items, err := a.fileItems()
	if a.conditions[NothingListed] > 0 {
		return nil, err
	}
	if a.conditions[FilesUnlisted] > 0 {
		items = slices.DeleteFunc(items, func(i item) bool { return i.sketch["type"] != "directory" })
	}
	return items, err
}

// unlessGone forgives a file that was removed while the walk went by.
func unlessGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func fileID(name string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name)) // never fails
	return fmt.Sprintf("*%X", h.Sum32())
}

func fileType(entry fs.DirEntry) string {
	extension := path.Ext(entry.Name())
	switch {
	case entry.IsDir():
		return "directory"
	case extension != "":
		return extension + " file"
	default:
		return "file"
	}
}

// free is what a pool has left. Files count with their full size at once
// unless they are thin.
func (a *Appliance) free(pool Pool) (int64, error) {
	if a.conditions[PoolFull] > 0 {
		return 0, nil
	}
	if a.options.Unknowns.ThinFiles {
		return pool.Size, nil
	}
	rows, err := a.fileRows()
	if err != nil {
		return 0, err
	}
	free := pool.Size
	for _, row := range rows {
		size, sized := row["size"].(int64)
		if name := script.Format(row["name"]); sized && strings.HasPrefix(name, pool.Name+"/") {
			free -= size
		}
	}
	return free, nil
}

// resizeFile makes the file of that size, sparse, if the pool has room.
func (a *Appliance) resizeFile(name string, size int64) error {
	texts := a.options.Unknowns.Texts
	poolName, _, _ := strings.Cut(name, "/")
	for _, pool := range a.options.Pools {
		if pool.Name != poolName {
			continue
		}
		free, err := a.free(pool)
		if err != nil {
			return err
		}
		if info, err := a.files.Stat(name); err == nil {
			free += info.Size()
		}
		if size > free {
			return a.unknown(texts.PoolFull)
		}
		return a.truncate(name, size)
	}
	return a.unknown(texts.NoDirectory)
}

func (a *Appliance) truncate(name string, size int64) error {
	file, err := a.files.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return a.unknown(a.options.Unknowns.Texts.NoDirectory)
	}
	if err := errors.Join(file.Truncate(size), file.Close()); err != nil {
		return fmt.Errorf("size backing file: %w", err)
	}
	return nil
}

// addFile is /file add.
func (a *Appliance) addFile(call script.Call) error {
	texts := a.options.Unknowns.Texts
	name := fileName(script.Format(call.Args["name"]))
	if _, err := a.files.Stat(name); err == nil {
		return a.unknown(texts.FileExists)
	}
	var err error
	if script.Format(call.Args["type"]) == "directory" {
		err = a.files.Mkdir(name, 0o750)
	} else {
		err = a.truncate(name, 0)
	}
	if err != nil {
		return a.unknown(texts.NoDirectory)
	}
	return nil
}

// removeFiles is /file remove. A file under a live disk goes too, as an
// unlink would take it; the disk is empty then.
func (a *Appliance) removeFiles(call script.Call) error {
	all, err := a.listedFiles()
	if err != nil {
		return err
	}
	rows, err := list{sketches(all)}.numbered(call.Args["numbers"], "name")
	if err != nil {
		return err
	}
	for _, row := range rows {
		name := script.Format(row["name"])
		if a.options.Unknowns.RefuseLiveFileRemove && a.backs(name) {
			return a.unknown(a.options.Unknowns.Texts.FileInUse)
		}
		if err := a.files.RemoveAll(name); err != nil {
			return fmt.Errorf("remove file: %w", err)
		}
	}
	return nil
}

// backs reports whether a disk uses the file.
func (a *Appliance) backs(name string) bool {
	for _, d := range a.disks {
		if d.File == name {
			return true
		}
	}
	return false
}
