package appliance

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/script"
)

// subvolumeMenu is the path of the menu in calls.
const subvolumeMenu = "/disk/btrfs/subvolume"

// subvolume is a part of a btrfs pool that snapshots are made of. Among the
// files it is a directory. Subvolumes live on the pool, so a power cut that
// takes the configuration back leaves them alone.
type subvolume struct {
	ID       int    `json:"id"`
	FS       string `json:"fs"`
	Name     string `json:"name"`
	Parent   string `json:"parent"`
	ReadOnly bool   `json:"readOnly"`
}

func (s subvolume) directory() string { return s.FS + "/" + s.Name }

func (a *Appliance) subvolumesPath() string {
	return filepath.Join(a.options.StateDir, "subvolumes.json")
}

func (a *Appliance) subvolumes() ([]subvolume, error) {
	data, err := os.ReadFile(a.subvolumesPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var all []subvolume
	if err == nil {
		err = json.Unmarshal(data, &all)
	}
	if err != nil {
		return nil, fmt.Errorf("read subvolumes: %w", err)
	}
	return all, nil
}

func (a *Appliance) saveSubvolumes(all []subvolume) error {
	data, err := json.Marshal(all)
	if err == nil {
		err = os.WriteFile(a.subvolumesPath(), data, 0o600)
	}
	if err != nil {
		return fmt.Errorf("save subvolumes: %w", err)
	}
	return nil
}

func (a *Appliance) subvolumeRows() ([]script.Record, error) {
	if !a.mounted() {
		return nil, nil
	}
	all, err := a.subvolumes()
	rows := make([]script.Record, 0, len(all))
	for _, s := range all {
		rows = append(rows, script.Record{".id": itemID(s.ID), "fs": s.FS, "name": s.Name, "parent": s.Parent, "read-only": s.ReadOnly})
	}
	return rows, err
}

// addSubvolume makes an empty subvolume, or a snapshot of the one named as
// parent.
func (a *Appliance) addSubvolume(call script.Call) error {
	texts := a.options.Unknowns.Texts
	made := subvolume{
		ID: 1, FS: script.Format(call.Args["fs"]), Name: script.Format(call.Args["name"]),
		Parent: script.Format(call.Args["parent"]), ReadOnly: script.Format(call.Args["read-only"]) == "yes",
	}
	if !a.mounted() || !slices.ContainsFunc(a.options.Pools, func(p Pool) bool { return p.Name == made.FS && p.FS == "btrfs" }) {
		return a.unknown(texts.NoDirectory)
	}
	all, err := a.subvolumes()
	if err != nil {
		return err
	}
	for _, s := range all {
		made.ID = max(made.ID, s.ID+1)
	}
	from := slices.IndexFunc(all, func(s subvolume) bool { return s.FS == made.FS && s.Name == made.Parent })
	if made.Parent != "" && from < 0 {
		return noSuchItem()
	}
	if err := a.files.Mkdir(fileName(made.directory()), 0o750); err != nil {
		return a.unknown(texts.FileExists)
	}
	if from >= 0 {
		if err := a.copyTree(all[from].directory(), made.directory()); err != nil {
			return err
		}
	}
	return a.saveSubvolumes(append(all, made))
}

// copyTree copies what is in a directory; sharing its blocks makes no
// difference that a client could see, but for the room that it takes.
func (a *Appliance) copyTree(from, to string) error {
	return fs.WalkDir(a.files.FS(), from, func(name string, entry fs.DirEntry, err error) error {
		target := path.Join(to, name[len(from):])
		switch {
		case err != nil || name == from:
			return err
		case entry.IsDir():
			return a.files.Mkdir(target, 0o750)
		default:
			_, err := a.copyContents(name, target)
			return err
		}
	})
}

// removeSubvolumes removes subvolumes with all that is in them.
func (a *Appliance) removeSubvolumes(call script.Call) error {
	rows, err := a.subvolumeRows()
	if err != nil {
		return err
	}
	chosen, err := list{rows}.numbered(call.Args["numbers"], "name")
	if err != nil {
		return err
	}
	all, err := a.subvolumes()
	if err != nil {
		return err
	}
	for _, row := range chosen {
		i := slices.IndexFunc(all, func(s subvolume) bool { return itemID(s.ID) == row[".id"] })
		if err := a.files.RemoveAll(fileName(all[i].directory())); err != nil {
			return fmt.Errorf("remove subvolume: %w", err)
		}
		all = slices.Delete(all, i, i+1)
	}
	return a.saveSubvolumes(all)
}
