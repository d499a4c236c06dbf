package appliance

import (
	"slices"
	"strings"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/script"
)

// item is an item of a menu of which there may be thousands. Its sketch has the
// properties that are at hand, and whole makes its row.
type item struct {
	sketch script.Record
	whole  func() (script.Record, error)
}

// sketched reports whether a filter looks at nothing else.
func (i item) sketched(uses map[string]bool) bool {
	for name := range uses {
		if _, at := i.sketch[name]; !at {
			return false
		}
	}
	return true
}

// rows makes the rows of items, but of those that a sketch rules out.
func rows(items []item, call script.Call) ([]script.Record, error) {
	made := make([]script.Record, 0, len(items))
	for _, i := range items {
		if call.Where != nil && i.sketched(call.Uses) {
			if wanted, err := call.Where(i.sketch); err == nil && !wanted {
				continue
			}
		}
		row, err := i.whole()
		if err != nil {
			return nil, err
		}
		if row != nil {
			made = append(made, row)
		}
	}
	return made, nil
}

// sketches are the items as far as they are at hand.
func sketches(items []item) []script.Record {
	made := make([]script.Record, 0, len(items))
	for _, i := range items {
		made = append(made, i.sketch)
	}
	return made
}

// list is the items of a menu.
type list struct{ rows []script.Record }

// find is find: the ids of the items wanted.
func (l list) find(call script.Call) (script.Result, error) {
	rows, err := l.matching(call)
	if err != nil {
		return script.Result{}, err
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

// property is what get returns: one value, or the whole record without a
// value-name.
func property(row script.Record, call script.Call) (script.Value, error) {
	name, given := call.Args["value-name"]
	if !given {
		return visible(row, nil), nil
	}
	v, known := row[script.Format(name)]
	if !known {
		return nil, script.Failf("input does not match any value of value-name")
	}
	return v, nil
}
