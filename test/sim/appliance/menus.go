package appliance

import (
	"context"

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
	}
	switch call.String() {
	case "/disk/add":
		return c.appliance.addDisk(call)
	case "/disk/set":
		return c.appliance.setDisks(call)
	case "/disk/remove":
		return c.appliance.removeDisks(call)
	case "/file/add":
		return script.Result{}, c.appliance.addFile(call)
	case "/file/remove":
		return script.Result{}, c.appliance.removeFiles(call)
	default:
		return script.Result{}, c.appliance.unknown(c.appliance.options.Unknowns.Texts.NotSimulated)
	}
}

// permit checks the policies of the user's group.
func (c console) permit(call script.Call) error {
	if call.Menu == "/system/resource" && !c.policies.Test {
		return script.Failf("not allowed (9)")
	}
	allowed := c.policies.Write
	switch call.Command {
	case "find", "get", "print":
		allowed = c.policies.Read
	}
	if !allowed {
		return script.Failf("not enough permissions (9)")
	}
	return nil
}

func (c console) read(call script.Call) (script.Result, error) {
	switch call.Menu {
	case "/disk":
		rows, err := c.appliance.diskRows()
		return list{rows}.read(call, err)
	case "/file":
		rows, err := c.appliance.fileRows()
		return list{rows}.read(call, err)
	case "/system/package":
		return list{c.appliance.packageRows()}.read(call, nil)
	default:
		return single{c.appliance.resource()}.read(call)
	}
}

// unknown is a failure whose real wording nobody knows.
func (a *Appliance) unknown(text string) error { return script.Failf("failure: %s", text) }
