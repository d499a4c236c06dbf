package appliance

import (
	"slices"
	"strconv"
	"strings"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/script"
)

// list is a menu of items as find, get and print see it.
type list struct{ rows []script.Record }

// read carries out find, get or print; err is what listing the rows gave.
func (l list) read(call script.Call, err error) (script.Result, error) {
	if err != nil {
		return script.Result{}, err
	}
	if call.Command == "get" {
		v, err := l.get(call)
		return script.Result{Value: v}, err
	}
	rows, err := l.matching(call)
	if err != nil {
		return script.Result{}, err
	}
	if call.Command == "print" {
		return show(rows, call)
	}
	ids := script.List{}
	for _, row := range rows {
		ids = append(ids, row[".id"])
	}
	return script.Result{Value: ids}, nil
}

func (l list) matching(call script.Call) ([]script.Record, error) {
	if call.Where == nil {
		return l.rows, nil
	}
	var rows []script.Record
	for _, row := range l.rows {
		wanted, err := call.Where(row)
		if err != nil {
			return nil, err
		}
		if wanted {
			rows = append(rows, row)
		}
	}
	return rows, nil
}

func (l list) get(call script.Call) (script.Value, error) {
	rows, err := l.numbered(call.Args["numbers"], "name", "slot")
	if err != nil {
		return nil, err
	}
	switch len(rows) {
	case 0:
		return nil, noSuchItem()
	case 1:
		return property(rows[0], call)
	default:
		return nil, script.Failf("invalid internal item number")
	}
}

// numbered resolves the value of numbers: ids as find returns them, or
// literal ids and names. An empty list selects nothing; a literal that is not
// there is an error.
func (l list) numbered(numbers script.Value, names ...string) ([]script.Record, error) {
	var wanted []string
	switch numbers := numbers.(type) {
	case nil:
		return nil, script.Failf("missing value(s) of argument(s) numbers")
	case script.List:
		for _, id := range numbers {
			wanted = append(wanted, script.Format(id))
		}
	default:
		wanted = strings.Split(script.Format(numbers), ",")
	}
	var rows []script.Record
	for _, name := range wanted {
		i := slices.IndexFunc(l.rows, func(row script.Record) bool {
			return row[".id"] == name || slices.ContainsFunc(names, func(key string) bool { return row[key] == name })
		})
		if i < 0 {
			return nil, noSuchItem()
		}
		rows = append(rows, l.rows[i])
	}
	return rows, nil
}

func noSuchItem() error { return script.Failf("no such item") }

// single is a menu without items, such as /system resource.
type single struct{ row script.Record }

func (s single) read(call script.Call) (script.Result, error) {
	if call.Command == "print" {
		return show([]script.Record{s.row}, call)
	}
	v, err := property(s.row, call)
	return script.Result{Value: v}, err
}

// property is what get returns: one value, or the whole record without a
// value-name.
func property(row script.Record, call script.Call) (script.Value, error) {
	name, given := call.Args["value-name"]
	if !given {
		return row, nil
	}
	v, known := row[script.Format(name)]
	if !known {
		return nil, script.Failf("input does not match any value of value-name")
	}
	return v, nil
}

// show is print: the forms a program reads.
func show(rows []script.Record, call script.Call) (script.Result, error) {
	if call.Flags["count-only"] {
		n := int64(len(rows))
		return script.Result{Value: n, Text: strconv.Itoa(len(rows))}, nil
	}
	if !call.Flags["as-value"] {
		return script.Result{}, script.Failf("failure: only print as-value and print count-only are simulated")
	}
	shown := script.List{}
	for _, row := range rows {
		shown = append(shown, visible(row, call))
	}
	return script.Result{Value: shown}, nil
}

// visible leaves out properties without a value and those not asked for.
func visible(row script.Record, call script.Call) script.Record {
	var proplist []string
	if v, given := call.Args["proplist"]; given {
		proplist = append(strings.Split(script.Format(v), ","), ".id")
	}
	seen := script.Record{}
	for key, value := range row {
		if value == nil || key == "comment" && value == "" {
			continue
		}
		if proplist == nil || slices.Contains(proplist, key) {
			seen[key] = value
		}
	}
	return seen
}
