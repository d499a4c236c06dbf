package appliance

import (
	"fmt"
	"strconv"
	"strings"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/script"
)

// Traffic is what /disk monitor-traffic shows of one disk.
type Traffic struct {
	// ReadOps and WriteOps are operations per second.
	ReadOps, WriteOps int64
	// ReadRate and WriteRate are bits per second.
	ReadRate, WriteRate int64
}

// SetTraffic says what a disk is busy with.
func (a *Appliance) SetTraffic(slot string, t Traffic) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.traffic[slot] = t
}

// trafficWidth is that of the right-aligned values, with the space before.
const trafficWidth = 15

// monitorTraffic is /disk monitor-traffic once. Without once it would go on
// until somebody presses a key.
func (a *Appliance) monitorTraffic(call script.Call) (script.Result, error) {
	all, err := a.diskRows()
	if err != nil {
		return script.Result{}, err
	}
	rows, err := list{all}.numbered(call.Args["numbers"], "slot")
	if err != nil {
		return script.Result{}, err
	}
	if !call.Flags["once"] {
		return script.Result{}, a.unknown(a.options.Unknowns.Texts.NotSimulated)
	}
	names := []string{
		"read-ops-per-second", "write-ops-per-second", "read-rate", "write-rate",
		"read-time", "write-time", "in-flight-ops", "active-time", "wait-time",
	}
	var shown []string
	for _, row := range rows {
		t := a.traffic[script.Format(row["slot"])]
		values := script.Record{
			"read-ops-per-second": strconv.FormatInt(t.ReadOps, 10), "write-ops-per-second": strconv.FormatInt(t.WriteOps, 10),
			"read-rate": bitRate(t.ReadRate), "write-rate": bitRate(t.WriteRate),
			"read-time": "0ms", "write-time": "0ms", "in-flight-ops": "0", "active-time": "0ms", "wait-time": "0ms",
		}
		for name, value := range values {
			values[name] = fmt.Sprintf("%*s", trafficWidth, value)
		}
		shown = append(shown, labelled(names, values, 1))
	}
	return script.Result{Text: strings.Join(shown, "\n\n")}, nil
}

// bitRate writes 12800000 as 12.8Mbps.
func bitRate(n int64) string {
	units := []string{"bps", "kbps", "Mbps", "Gbps"}
	value := float64(n)
	for value >= 1000 && len(units) > 1 {
		value, units = value/1000, units[1:]
	}
	return strconv.FormatFloat(value, 'f', -1, 64) + units[0]
}
