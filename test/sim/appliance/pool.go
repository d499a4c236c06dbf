package appliance

import (
	"cmp"
	"errors"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/script"
)

// Condition is something that is wrong with every pool for a while.
type Condition int

// Conditions of the pools.
const (
	// PoolFull leaves no free space.
	PoolFull Condition = iota
	// PoolDegraded makes the state something else than clean.
	PoolDegraded
	// PoolUnmounted takes the file systems away: no free space is shown, no
	// file is there, file-backed disks are empty, exports are down.
	PoolUnmounted
	// FilesUnlisted has /file list directories only, as if files were too new.
	FilesUnlisted
	// NothingListed has /file list nothing, as if directories were too new, too.
	NothingListed
)

// errUnmounted stands for a file that can't be looked at.
var errUnmounted = errors.New("the pool is not mounted")

// Afflict puts the pools into a condition until cure is called. Afflictions of
// the same condition add up; calling a cure again does nothing.
func (a *Appliance) Afflict(condition Condition) (cure func()) {
	change := func(by int) {
		a.mu.Lock()
		defer a.mu.Unlock()
		was := a.mounted()
		a.conditions[condition] += by
		a.remounted(was)
	}
	change(1)
	done := false
	return func() {
		if !done {
			done = true
			change(-1)
		}
	}
}

// mounted reports whether the file systems are there.
func (a *Appliance) mounted() bool { return a.phase == Up && a.conditions[PoolUnmounted] == 0 }

// remounted brings the exports in line after mounted may have changed.
func (a *Appliance) remounted(was bool) {
	switch {
	case was && !a.mounted():
		a.exports.Lose()
	case !was && a.mounted():
		// The exports come before the target answers: an initiator that is refused
		// may give its device up.
		for _, d := range a.disks {
			a.publish(d)
		}
		a.exports.Restore()
	}
}

// poolItems lists the pools as items of /disk.
func (a *Appliance) poolItems() []item {
	items := make([]item, 0, len(a.options.Pools))
	for i, pool := range a.options.Pools {
		sketch := script.Record{
			".id": itemID(i + 1), "slot": pool.Name, "type": "raid", "comment": "", "file-path": nil, "mounted": a.mounted(), "mount-point": nil,
		}
		if a.mounted() || a.options.Unknowns.UnmountedKeepsMountPoint {
			sketch["mount-point"] = pool.Name
		}
		items = append(items, item{sketch, func() (script.Record, error) { return a.poolRow(pool, sketch) }})
	}
	return items
}

func (a *Appliance) poolRow(pool Pool, sketch script.Record) (script.Record, error) {
	row := script.Record{
		"block-device": true, "model": "RAID0 striped", "fs": cmp.Or(pool.FS, "xfs"), "size": pool.Size, "state": a.poolState(), "disabled": false,
	}
	for name, value := range sketch {
		if value != nil {
			row[name] = value
		}
	}
	if a.mounted() {
		free, err := a.free(pool)
		if err != nil {
			return nil, err
		}
		row["free"] = free
	}
	return row, nil
}

func (a *Appliance) poolState() string {
	if a.conditions[PoolDegraded] > 0 {
		return "degraded"
	}
	return "clean"
}

// checkFile says whether a backing file is there.
func (a *Appliance) checkFile(name string) error {
	if !a.mounted() {
		return errUnmounted
	}
	_, err := a.files.Stat(name)
	return err
}
