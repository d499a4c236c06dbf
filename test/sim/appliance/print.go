package appliance

import (
	"slices"
	"strconv"
	"strings"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/script"
)

// print is print of a menu with items, in the form the flags ask for.
func (c console) print(call script.Call, l list) (script.Result, error) {
	h := human{layout: layoutOf(call.Menu), console: c.appliance.options.Console}
	if h.console.Rows != nil {
		h.console.Rows(l.rows)
	}
	rows, err := l.matching(call)
	if err != nil {
		return script.Result{}, err
	}
	proplist := properties(call)
	switch {
	case call.Flags["count-only"]:
		return script.Result{Value: int64(len(rows)), Text: strconv.Itoa(len(rows))}, nil
	case call.Flags["as-value"]:
		if most := c.appliance.options.Unknowns.PrintMax; most > 0 {
			rows = rows[:min(most, len(rows))]
		}
		shown := script.List{}
		for _, row := range rows {
			shown = append(shown, visible(row, proplist))
		}
		return script.Result{Value: shown}, nil
	}
	h.rows = rows
	h.number(l.rows)
	switch {
	case call.Flags["terse"]:
		return script.Result{Text: h.terse(proplist)}, nil
	case call.Flags["detail"]:
		return script.Result{Text: h.detail(proplist)}, nil
	default:
		return script.Result{Text: h.table(proplist)}, nil
	}
}

// properties are those asked for with proplist; nil means all.
func properties(call script.Call) []string {
	if v, given := call.Args["proplist"]; given {
		return strings.Split(script.Format(v), ",")
	}
	return nil
}

// visible leaves out properties without a value and those not asked for.
func visible(row script.Record, proplist []string) script.Record {
	seen := script.Record{}
	for key, value := range row {
		if value == nil || key == "comment" && value == "" {
			continue
		}
		if proplist == nil || key == ".id" || slices.Contains(proplist, key) {
			seen[key] = value
		}
	}
	return seen
}

// single is a menu without items, such as /system resource.
type single struct {
	// names are the properties in the order they are printed.
	names []string
	row   script.Record
}

// read carries out get or print.
func (s single) read(call script.Call) (script.Result, error) {
	switch {
	case call.Command == "get":
		v, err := property(s.row, call)
		return script.Result{Value: v}, err
	case call.Flags["as-value"]:
		return script.Result{Value: visible(s.row, properties(call))}, nil
	default:
		return script.Result{Text: labelled(s.names, s.row, 2)}, nil
	}
}
