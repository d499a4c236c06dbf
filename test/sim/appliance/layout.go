package appliance

import (
	"fmt"
	"strconv"
	"strings"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/script"
)

// form is how a human print writes the value of a column.
type form int

const (
	// plain is a number, an enumerated word, yes or no, or a path.
	plain form = iota
	// quoted is a string.
	quoted
	// dashed is plain, and "-" without a value.
	dashed
	// grouped is a number with a space every three digits.
	grouped
	// rounded is a size with a unit and one decimal: it loses digits.
	rounded
	// percent is a number with its sign.
	percent
)

// pathRoom is how many columns the path of a disk claims.
const pathRoom = 48

// column is one property of a human print.
type column struct {
	name string
	form form
	// room is how many columns the value claims at least when lines wrap.
	room int
	// brief columns are those of the table.
	brief bool
}

// flag is one letter of a human print.
type flag struct{ letter, property, legend string }

// layout is the human print of a menu.
type layout struct {
	flags   []flag
	columns []column
	// indent of continuation lines; 0 puts them under the first property.
	indent int
}

// layoutOf is the human print of a menu with items.
func layoutOf(menu string) layout {
	switch menu {
	case "/disk":
		return diskLayout()
	case "/file":
		return layout{columns: []column{
			{name: "name", brief: true},
			{name: "type", form: plain, brief: true},
			{name: "size", form: rounded, brief: true},
			{name: "last-modified", brief: true},
		}}
	case "/system/package":
		return layout{
			flags:   []flag{{"X", "disabled", "DISABLED"}},
			columns: []column{{name: "name", form: quoted, brief: true}, {name: "version", form: quoted, brief: true}},
		}
	case "/system/health":
		return layout{columns: []column{{name: "name", brief: true}, {name: "value", brief: true}, {name: "type", brief: true}}}
	case "/ip/service":
		return layout{
			flags: []flag{{"D", "dynamic", "DYNAMIC"}, {"X", "disabled", "DISABLED"}, {"c", "connection", "CONNECTION"}},
			columns: []column{
				{name: "name", form: quoted, brief: true},
				{name: "port", brief: true},
				{name: "proto", brief: true},
				{name: "max-sessions", brief: true},
				{name: "remote", brief: true},
			},
		}
	default: // "/user/active"
		return layout{columns: []column{
			{name: "when", brief: true},
			{name: "name", form: quoted, brief: true},
			{name: "address", brief: true},
			{name: "via", brief: true},
		}}
	}
}

// diskLayout has flags and properties in the order of captured outputs.
func diskLayout() layout {
	return layout{
		indent: 15,
		flags: []flag{
			{"X", "disabled", "DISABLED"},
			{"E", "empty", "EMPTY"},
			{"B", "block-device", "BLOCK-DEVICE"},
			{"M", "mounted", "MOUNTED"},
			{"t", "nvme-tcp-export", "NVME-TCP-EXPORT"},
		},
		columns: []column{
			{name: "type", form: plain, brief: true},
			{name: "slot", form: quoted, brief: true},
			{name: "slot-default", form: quoted},
			{name: "parent", form: quoted},
			{name: "fs-label", form: quoted},
			{name: "fs-uuid", form: quoted},
			{name: "fs", form: dashed, brief: true},
			{name: "model", form: quoted, room: pathRoom, brief: true},
			{name: "size", form: grouped, brief: true},
			{name: "free", form: grouped, brief: true},
			{name: "use", form: percent, brief: true},
			{name: "mount-filesystem"},
			{name: "mount-point-template", form: quoted},
			{name: "mount-point", form: quoted, brief: true},
			{name: "mount-read-only"},
			{name: "compress"},
			{name: "sector-size"},
			{name: "raid-master"},
			{name: "nvme-tcp-export"},
			{name: "nvme-tcp-server-port"},
			{name: "nvme-tcp-server-nqn", form: quoted},
			{name: "nvme-tcp-server-allow-host-name", form: quoted},
			{name: "nvme-tcp-server-password", form: quoted},
			{name: "iscsi-export"},
			{name: "nfs-sharing"},
			{name: "smb-sharing"},
			{name: "media-sharing"},
			{name: "media-interface"},
			{name: "swap"},
			{name: "state", form: quoted},
			{name: "raid-uuid", form: quoted},
			{name: "file-path", room: pathRoom},
			{name: "file-size", form: rounded},
			{name: "file-offset", form: plain},
		},
	}
}

// show writes the value of a column without quotes; shown is false if there
// is nothing to show.
func (c column) show(value script.Value) (text string, shown bool) {
	if value == nil {
		return "-", c.form == dashed
	}
	n, number := value.(int64)
	switch {
	case number && c.form == grouped:
		return grouping(n), true
	case number && c.form == rounded:
		return rounding(n), true
	case number && c.form == percent:
		return strconv.FormatInt(n, 10) + "%", true
	default:
		return yesNo(value), true
	}
}

// property writes name=value as print detail does.
func (c column) property(value script.Value) (t token, shown bool) {
	text, shown := c.show(value)
	if c.form == quoted {
		text = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`, "\n", `\n`, "\r", `\r`).Replace(text) + `"`
	}
	t.text = c.name + "=" + text
	if c.room > 0 {
		t.room = len(c.name) + len("=") + c.room
	}
	return t, shown
}

func yesNo(value script.Value) string {
	if yes, ok := value.(bool); ok {
		if yes {
			return "yes"
		}
		return "no"
	}
	return script.Format(value)
}

// grouping writes 1099511627776 as 1 099 511 627 776.
func grouping(n int64) string {
	digits := strconv.FormatInt(n, 10)
	var groups []string
	for len(digits) > 3 {
		groups = append([]string{digits[len(digits)-3:]}, groups...)
		digits = digits[:len(digits)-3]
	}
	return strings.Join(append([]string{digits}, groups...), " ")
}

// rounding writes a size with one decimal. A full unit stays in the smaller
// one, as captured: 1024.0MiB, not 1.0GiB.
func rounding(n int64) string {
	units := []string{"KiB", "MiB", "GiB"}
	if n <= 1024 {
		return strconv.FormatInt(n, 10)
	}
	value := float64(n) / 1024
	for value > 1024 && len(units) > 1 {
		value, units = value/1024, units[1:]
	}
	return fmt.Sprintf("%.1f%s", value, units[0])
}
