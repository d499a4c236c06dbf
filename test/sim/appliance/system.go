package appliance

import (
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/script"
)

// singleMenu finds a menu without items.
func (a *Appliance) singleMenu(menu string) (s single, found bool) {
	switch menu {
	case "/system/resource":
		return a.resource(), true
	case "/system/identity":
		return single{names: []string{"name"}, row: script.Record{"name": "MikroTik"}}, true
	case "/system/clock":
		now := time.Now()
		zone, _ := now.Zone()
		return single{
			names: []string{"time", "date", "time-zone-autodetect", "time-zone-name", "gmt-offset", "dst-active"},
			row: script.Record{
				"time": now.Format("15:04:05"), "date": now.Format("2006-01-02"), "time-zone-autodetect": true,
				"time-zone-name": zone, "gmt-offset": now.Format("-07:00"), "dst-active": now.IsDST(),
			},
		}, true
	case "/system/routerboard":
		return single{
			names: []string{"routerboard", "model", "serial-number", "current-firmware", "upgrade-firmware"},
			row: script.Record{
				"routerboard": true, "model": boardName, "serial-number": "SIM0000000", "current-firmware": a.options.Version,
				"upgrade-firmware": a.options.Version,
			},
		}, true
	default:
		return single{}, false
	}
}

// boardName stands for a string that isn't known exactly.
const boardName = "RDS2216-2XG-4S+4XS-2XQ"

func (a *Appliance) resource() single {
	const memory = 32 * GiB
	return single{
		names: []string{
			"uptime", "version", "free-memory", "total-memory", "cpu", "cpu-count", "cpu-load", "architecture-name",
			"board-name", "platform",
		},
		row: script.Record{
			"uptime":            time.Since(a.booted),
			"version":           a.options.Version + " (stable)",
			"free-memory":       int64(memory / 2),
			"total-memory":      int64(memory),
			"cpu":               "ARM64",
			"cpu-count":         int64(16),
			"cpu-load":          int64(3),
			"architecture-name": "arm64",
			"board-name":        boardName,
			"platform":          "MikroTik",
		},
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

func healthRows() []script.Record {
	return []script.Record{
		{".id": "*1", "name": "cpu-temperature", "value": int64(48), "type": "C"},
		{".id": "*2", "name": "board-temperature1", "value": int64(36), "type": "C"},
		{".id": "*3", "name": "fan1-speed", "value": int64(4200), "type": "RPM"},
		{".id": "*4", "name": "psu1-power", "value": int64(97), "type": "W"},
	}
}
