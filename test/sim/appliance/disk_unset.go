package appliance

import (
	"slices"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/script"
)

// clearable are the properties that can be without a value.
func clearable(name string) bool {
	return slices.Contains([]string{
		"comment", "nvme-tcp-server-nqn", "nvme-tcp-server-allow-host-name", "nvme-tcp-server-password",
		"mount-point-template",
	}, name)
}

// unsetDisks is /disk unset: the same as set with !name.
func (a *Appliance) unsetDisks(call script.Call) (script.Result, error) {
	name := script.Format(call.Args["value-name"])
	if !clearable(name) {
		return script.Result{}, script.Failf("input does not match any value of value-name")
	}
	call.Args = map[string]script.Value{"numbers": call.Args["numbers"], name: script.Cleared{}}
	return a.setDisks(call)
}

// trimDisks is /disk trim: it tells the drives below what is free, which
// nobody can see from here.
func (a *Appliance) trimDisks(call script.Call) error {
	rows, err := a.diskRows()
	if err != nil {
		return err
	}
	_, err = list{rows}.numbered(call.Args["numbers"], "slot")
	return err
}
