package appliance

import (
	"context"
	"maps"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/script"
)

// console is the appliance as one user sees it. Its methods run under
// Appliance.mu.
type console struct {
	appliance *Appliance
	policies  Policies
}

// Run dispatches one command of the tree in schema.go.
func (c console) Run(_ context.Context, call script.Call) (script.Result, error) {
	if err := c.permit(call); err != nil {
		return script.Result{}, err
	}
	switch call.Command {
	case "find", "get", "print":
		return c.read(call)
	case "monitor-traffic":
		return c.appliance.monitorTraffic(call)
	}
	return c.change(call)
}

// change carries out a command that needs the write policy.
func (c console) change(call script.Call) (script.Result, error) {
	a := c.appliance
	switch call.String() {
	case "/disk/add":
		return a.addDisk(call)
	case "/disk/set", "/disk/comment":
		return a.setDisks(call)
	case "/disk/unset":
		return a.unsetDisks(call)
	case "/disk/enable", "/disk/disable":
		call.Args["disabled"] = call.Command == "disable"
		return a.setDisks(call)
	case "/disk/remove":
		return a.removeDisks(call)
	case "/disk/copy":
		return a.copyDisk(call)
	case "/disk/trim":
		return script.Result{}, a.trimDisks(call)
	case subvolumeMenu + "/add":
		return script.Result{}, a.addSubvolume(call)
	case subvolumeMenu + "/remove":
		return script.Result{}, a.removeSubvolumes(call)
	case "/file/add":
		return script.Result{}, a.addFile(call)
	case "/file/copy":
		return script.Result{}, a.copyFile(call)
	case "/file/remove":
		return script.Result{}, a.removeFiles(call)
	default:
		return script.Result{}, a.unknown(a.options.Unknowns.Texts.NotSimulated)
	}
}

// permit checks the policies of the user's group.
func (c console) permit(call script.Call) error {
	measures := call.Menu == "/system/resource" || call.Command == "monitor-traffic"
	if measures && !c.policies.Test {
		return script.Failf("not allowed (9)")
	}
	allowed := c.policies.Write
	switch call.Command {
	case "find", "get", "print", "monitor-traffic":
		allowed = c.policies.Read
	}
	if !allowed {
		return script.Failf("not enough permissions (9)")
	}
	return nil
}

// read is find, get or print.
func (c console) read(call script.Call) (script.Result, error) {
	if s, ok := c.appliance.singleMenu(call.Menu); ok {
		return s.read(call)
	}
	spelling := c.appliance.options.Unknowns.PathSpelling
	if where := call.Where; where != nil && call.Menu == "/disk" && (spelling == FoundBare || spelling == NeverFound) {
		call.Where = func(row script.Record) (bool, error) { return where(withFoundPath(row, spelling)) }
	}
	rows, err := c.rows(call)
	if err != nil {
		return script.Result{}, err
	}
	l := list{rows}
	switch call.Command {
	case "find":
		return l.find(call)
	case "get":
		v, err := l.get(call)
		return script.Result{Value: v}, err
	default:
		return c.print(call, l)
	}
}

// withFoundPath is a disk as where sees it if it finds paths without a slash,
// or none.
func withFoundPath(row script.Record, spelling PathSpelling) script.Record {
	path, given := row["file-path"].(string)
	if !given {
		return row
	}
	row = maps.Clone(row)
	row["file-path"] = fileName(path)
	if spelling == NeverFound {
		row["file-path"] = nil
	}
	return row
}

// rows are the items of a menu as the user may see them.
func (c console) rows(call script.Call) ([]script.Record, error) {
	a := c.appliance
	switch call.Menu {
	case "/disk":
		made, err := rows(a.diskItems(), c.quick(call))
		for _, row := range made {
			a.describe(row)
			c.conceal(row, call)
		}
		return made, err
	case "/file":
		items, err := a.listedFiles()
		if err != nil {
			return nil, err
		}
		return rows(items, c.quick(call))
	case subvolumeMenu:
		return a.subvolumeRows()
	case "/system/package":
		return a.packageRows(), nil
	case "/system/health":
		return healthRows(), nil
	case "/ip/service":
		return a.serviceRows(), nil
	default: // "/user/active"
		return a.userRows(), nil
	}
}

// quick is a call that rows which it doesn't want needn't be made for. A print
// for people numbers them, and a console that is shuffled wants them all.
func (c console) quick(call script.Call) script.Call {
	if call.Command == "print" && !call.Flags["as-value"] || c.appliance.options.Console.Rows != nil {
		return script.Call{}
	}
	return call
}

// conceal blanks what needs the policy sensitive. From 7.21 on print also wants
// to be asked with show-sensitive.
func (c console) conceal(row script.Record, call script.Call) {
	asked := call.Command != "print" || !c.appliance.version.since(21) || call.Flags["show-sensitive"]
	if row["nvme-tcp-server-password"] != nil && (!c.policies.Sensitive || !asked) {
		row["nvme-tcp-server-password"] = ""
	}
}

// unknown is a failure whose real wording nobody knows.
func (a *Appliance) unknown(text string) error { return script.Failf("failure: %s", text) }
