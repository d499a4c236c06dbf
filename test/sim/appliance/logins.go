package appliance

import (
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/script"
)

// Login is one user's SSH connection.
type Login struct {
	User string
	// Address is where the user comes from, without the port.
	Address string
	Since   time.Time
}

// logins are those of now; an appliance without a front end has none.
func (a *Appliance) logins() []Login {
	if a.options.Logins == nil {
		return nil
	}
	return a.options.Logins()
}

// userRows is /user active.
func (a *Appliance) userRows() []script.Record {
	var rows []script.Record
	for i, login := range a.logins() {
		rows = append(rows, script.Record{
			".id": itemID(i + 1), "when": login.Since.Format("2006-01-02 15:04:05"),
			"name": login.User, "address": login.Address, "via": "ssh",
		})
	}
	return rows
}

// serviceRows is /ip service: the services, and a dynamic row per connection.
func (a *Appliance) serviceRows() []script.Record {
	ssh := script.Record{
		".id": itemID(1), "name": "ssh", "port": int64(22), "proto": "tcp", "disabled": false, "dynamic": false,
		"connection": false,
	}
	if a.version.since(16) {
		ssh["max-sessions"] = int64(a.options.MaxSessions)
	}
	rows := []script.Record{ssh}
	for i, login := range a.logins() {
		rows = append(rows, script.Record{
			".id": itemID(i + 2), "name": "ssh", "port": int64(22), "proto": "tcp", "disabled": false, "dynamic": true,
			"connection": true, "remote": login.Address,
		})
	}
	return rows
}
