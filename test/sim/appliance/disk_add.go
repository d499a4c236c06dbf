package appliance

import (
	"errors"
	"path"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/script"
)

// addDisk is /disk add type=file.
func (a *Appliance) addDisk(call script.Call) (script.Result, error) {
	d, err := a.template(call)
	if err != nil {
		return script.Result{}, err
	}
	if err := a.assign(d, call); err != nil {
		return script.Result{}, err
	}
	if d.File == "" {
		return script.Result{}, script.Failf("missing value(s) of argument(s) file-path")
	}
	if d.Slot == "" {
		d.Slot = "file-" + path.Base(d.File)
	}
	if err := a.checkNames(d); err != nil {
		return script.Result{}, err
	}
	if err := a.backingFile(d); err != nil {
		return script.Result{}, err
	}
	a.nextID++
	a.disks = append(a.disks, d)
	a.publish(d)
	return script.Result{Value: itemID(d.ID)}, a.save()
}

// template is what an added disk begins with: the defaults, or with copy-from
// the properties of another disk. Data is never copied.
func (a *Appliance) template(call script.Call) (*disk, error) {
	d := newDisk(a.nextID)
	origin, copied := call.Args["copy-from"]
	if copied {
		disks, err := a.selected(script.Call{Args: map[string]script.Value{"numbers": origin}})
		if err != nil {
			return nil, err
		}
		if len(disks) != 1 {
			return nil, script.Failf("invalid value for argument copy-from")
		}
		*d = *disks[0]
		d.ID, d.Slot = a.nextID, ""
	}
	kind, given := call.Args["type"]
	if script.Format(kind) != "file" && (given || !copied) {
		return nil, a.unknown(a.options.Unknowns.Texts.NotSimulated)
	}
	return d, nil
}

// checkNames refuses a slot or NQN that another item has, and maybe its file.
func (a *Appliance) checkNames(d *disk) error {
	texts := a.options.Unknowns.Texts
	if len(d.Slot) > a.options.Unknowns.SlotMax {
		return a.unknown(texts.SlotTooLong)
	}
	for _, pool := range a.options.Pools {
		if pool.Name == d.Slot {
			return a.unknown(texts.SlotTaken)
		}
	}
	for _, other := range a.disks {
		if other.ID == d.ID {
			continue
		}
		if other.Slot == d.Slot {
			return a.unknown(texts.SlotTaken)
		}
		if a.nqn(other) == a.nqn(d) {
			return a.unknown(texts.NQNTaken)
		}
		if other.File == d.File && a.options.Unknowns.RefuseSharedFile {
			return a.unknown(texts.FileShared)
		}
	}
	return nil
}

// backingFile makes or attaches the file of a new disk.
func (a *Appliance) backingFile(d *disk) error {
	unknowns := a.options.Unknowns
	info, err := a.files.Stat(d.File)
	switch {
	case err == nil && d.FileSize == 0:
		d.FileSize, d.AutoSize = info.Size(), true
		if unknowns.AttachEmptiesFile {
			return errors.Join(a.resizeFile(d.File, 0), a.resizeFile(d.File, d.FileSize))
		}
		return nil
	case err == nil && unknowns.ExistingFile == RefuseFile:
		return a.unknown(unknowns.Texts.FileExists)
	case err == nil && unknowns.ExistingFile == TruncateFile:
		if err := a.resizeFile(d.File, 0); err != nil {
			return err
		}
	case err != nil && d.FileSize == 0 && !unknowns.AttachMakesFile:
		return a.unknown(unknowns.Texts.NoFile)
	}
	return a.resizeFile(d.File, d.FileSize)
}
