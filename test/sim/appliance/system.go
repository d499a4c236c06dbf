package appliance

import (
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/script"
)

func (a *Appliance) resource() script.Record {
	return script.Record{
		"uptime":            time.Since(a.booted),
		"version":           a.options.Version + " (stable)",
		"architecture-name": "arm64",
		"cpu-count":         int64(16),
	}
}

func (a *Appliance) packageRows() []script.Record {
	row := func(id, name string) script.Record {
		return script.Record{".id": id, "name": name, "version": a.options.Version, "disabled": false}
	}
	rows := []script.Record{row("*1", "routeros")} //nolint:misspell // the name of the package
	if !a.options.WithoutRose {
		rows = append(rows, row("*2", "rose-storage"))
	}
	return rows
}
