package appliance

import (
	"context"
	"errors"
	"slices"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/export"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/script"
)

// selected resolves numbers to file-backed disks. Pools cannot be changed.
func (a *Appliance) selected(call script.Call) ([]*disk, error) {
	rows, err := list{sketches(a.diskItems())}.numbered(call.Args["numbers"], "slot")
	if err != nil {
		return nil, err
	}
	disks := make([]*disk, 0, len(rows))
	for _, row := range rows {
		i := slices.IndexFunc(a.disks, func(d *disk) bool { return itemID(d.ID) == row[".id"] })
		if i < 0 {
			return nil, a.unknown(a.options.Unknowns.Texts.NotSimulated)
		}
		disks = append(disks, a.disks[i])
	}
	return disks, nil
}

// setDisks is /disk set.
func (a *Appliance) setDisks(call script.Call) (script.Result, error) {
	disks, err := a.selected(call)
	if err != nil {
		return script.Result{}, err
	}
	var waits []func(context.Context)
	for _, d := range disks {
		var wait func(context.Context)
		if wait, err = a.setDisk(d, call); err != nil {
			break
		}
		waits = append(waits, wait)
	}
	// Disks before the one that failed stay changed.
	return script.Result{Wait: all(waits)}, errors.Join(err, a.save())
}

// setDisk changes one disk as a whole or not at all. The returned function
// waits for hosts that were cut off; it is nil when there can be none.
func (a *Appliance) setDisk(d *disk, call script.Call) (func(context.Context), error) {
	changed := *d
	if err := a.assign(&changed, call); err != nil {
		return nil, err
	}
	if err := a.checkNames(&changed); err != nil {
		return nil, err
	}
	if changed.FileSize < d.FileSize && !a.options.Unknowns.AllowShrink {
		return nil, a.unknown(a.options.Unknowns.Texts.Shrink)
	}
	if changed.FileSize != d.FileSize {
		if err := a.resizeFile(changed.File, changed.FileSize); err != nil {
			return nil, err
		}
	}
	before := *d
	*d = changed
	return a.reexport(before, d), nil
}

// reexport brings the target in line with what changed from before to d, or
// has that done when the line ends.
func (a *Appliance) reexport(before disk, d *disk) func(context.Context) {
	if !a.options.Unknowns.CoalesceExports {
		return a.follow(before, d)
	}
	if _, known := a.unsettled[d.ID]; !known {
		a.unsettled[d.ID] = before
	}
	return nil
}

// settle brings the target in line with what a line changed.
func (a *Appliance) settle(ctx context.Context) {
	a.mu.Lock()
	var waits []func(context.Context)
	for _, d := range a.disks {
		if before, known := a.unsettled[d.ID]; known {
			waits = append(waits, a.follow(before, d))
		}
	}
	clear(a.unsettled)
	a.mu.Unlock()
	all(waits)(ctx)
}

// follow brings the target in line with what changed from before to d.
func (a *Appliance) follow(before disk, d *disk) func(context.Context) {
	sameName := a.nqn(&before) == a.nqn(d) || a.options.Unknowns.RenameNeedsReexport || a.options.Unknowns.CoalesceExports
	same := a.exported(&before) && a.exported(d) && before.Slot == d.Slot && before.File == d.File &&
		before.Port == d.Port && sameName
	if same {
		a.exports.Update(d.Slot, func(s *export.Subsystem) {
			s.AllowHost = d.AllowHost
			if a.options.Unknowns.LiveResize {
				s.Size = d.FileSize
			}
		})
		return nil
	}
	var wait func(context.Context)
	if a.exported(&before) {
		wait = a.exports.Withdraw(before.Slot)
	}
	a.publish(d)
	return wait
}

// removeDisks is /disk remove. The backing files stay.
func (a *Appliance) removeDisks(call script.Call) (script.Result, error) {
	disks, err := a.selected(call)
	if err != nil {
		return script.Result{}, err
	}
	var waits []func(context.Context)
	for _, d := range disks {
		// Another disk may be exported under the same slot.
		if d.Export || a.unsettled[d.ID].Export {
			waits = append(waits, a.exports.Withdraw(d.Slot))
		}
		a.disks = slices.DeleteFunc(a.disks, func(other *disk) bool { return other == d })
	}
	return script.Result{Wait: all(waits)}, a.save()
}

// all runs every wait; they share their bound since they all began together.
func all(waits []func(context.Context)) func(context.Context) {
	return func(ctx context.Context) {
		for _, wait := range waits {
			if wait != nil {
				wait(ctx)
			}
		}
	}
}
