package appliance

import (
	"context"
	"errors"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/script"
)

// ErrPowerOff ends a line that was running when the appliance went down, and
// refuses one while it is down.
var ErrPowerOff = errors.New("the appliance is switched off")

// Mishap says which command of a line goes only half way.
type Mishap int

// What can go half way. Each fails with Texts.Interrupted after it did its
// half; a command that selects nothing does nothing, as always.
const (
	NoMishap Mishap = iota
	// HalfAdd: /disk add makes the file but no item.
	HalfAdd
	// HalfRemoveExport: /disk remove takes the export away and keeps the item.
	HalfRemoveExport
	// HalfRemoveItem: /disk remove takes export and item away, then fails: what
	// the line does afterwards, such as removing the file, doesn't happen.
	HalfRemoveItem
	// FileStays: /file remove removes nothing.
	FileStays
)

// Hooks let a test reach into a line while it runs.
type Hooks struct {
	// BeforeStatement, when set, is called before each simple statement
	// without any lock; its error aborts the line.
	BeforeStatement func() error
	// Mishap is what goes wrong inside a command.
	Mishap Mishap
}

// device is the console of one line: it stops when the appliance reboots under
// it, has mishaps, and takes its time. It runs under Appliance.mu.
type device struct {
	console

	boot   int
	mishap Mishap
}

// Run implements [script.Device].
func (d device) Run(ctx context.Context, call script.Call) (script.Result, error) {
	a := d.appliance
	if a.boot != d.boot || a.phase == Down {
		return script.Result{}, ErrPowerOff
	}
	result, err := d.carryOut(ctx, call)
	result.Wait = a.options.Timing.after(result.Wait, call)
	return result, err
}

func (d device) carryOut(ctx context.Context, call script.Call) (script.Result, error) {
	if !d.appliance.mounted() && makesFile(call) {
		return script.Result{}, d.appliance.unknown(d.appliance.options.Unknowns.Texts.NoDirectory)
	}
	if d.mishap == NoMishap || d.permit(call) != nil {
		return d.console.Run(ctx, call)
	}
	switch name := call.String(); {
	case d.mishap == HalfAdd && name == "/disk/add":
		return d.appliance.halfAdd(call)
	case d.mishap == HalfRemoveExport && name == "/disk/remove" && selectsSome(call):
		return d.appliance.halfRemoveExport(call)
	case d.mishap == HalfRemoveItem && name == "/disk/remove" && selectsSome(call):
		result, err := d.appliance.removeDisks(call)
		return result, errors.Join(err, d.appliance.interrupted())
	case d.mishap == FileStays && name == "/file/remove" && selectsSome(call):
		return script.Result{}, d.appliance.interrupted()
	default:
		return d.console.Run(ctx, call)
	}
}

// makesFile reports whether the command needs a mounted pool to write to.
func makesFile(call script.Call) bool {
	_, sized := call.Args["file-size"]
	switch call.String() {
	case "/disk/add", "/file/add", "/file/copy":
		return true
	case "/disk/set":
		return sized
	default:
		return false
	}
}

// selectsSome reports whether numbers is anything but an empty list.
func selectsSome(call script.Call) bool {
	found, ok := call.Args["numbers"].(script.List)
	return !ok || len(found) > 0
}

func (a *Appliance) interrupted() error { return a.unknown(a.options.Unknowns.Texts.Interrupted) }

// halfAdd leaves the backing file of a disk that was not added.
func (a *Appliance) halfAdd(call script.Call) (script.Result, error) {
	if _, err := a.addDisk(call); err != nil {
		return script.Result{}, err
	}
	last := len(a.disks) - 1
	var wait func(context.Context)
	if a.disks[last].Export {
		wait = a.exports.Withdraw(a.disks[last].Slot)
	}
	a.disks = a.disks[:last]
	return script.Result{Wait: wait}, errors.Join(a.save(), a.interrupted())
}

// halfRemoveExport leaves the items, without their exports.
func (a *Appliance) halfRemoveExport(call script.Call) (script.Result, error) {
	disks, err := a.selected(call)
	if err != nil {
		return script.Result{}, err
	}
	var waits []func(context.Context)
	for _, d := range disks {
		before := *d
		d.Export = false
		waits = append(waits, a.reexport(before, d))
	}
	return script.Result{Wait: all(waits)}, errors.Join(a.save(), a.interrupted())
}
