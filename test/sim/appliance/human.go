package appliance

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/script"
)

// Console is how the appliance prints for people. The zero value is the form
// captured over SSH without a terminal.
type Console struct {
	// Width is where print detail wraps; 80 if zero, never if negative.
	Width int
	// Indent of continuation lines; 0 takes what was captured with Width 80.
	Indent int
	// Renumber counts the items shown, as one capture did; otherwise an item has
	// the number it has among all of them, as in another one.
	Renumber bool
	// Rows and Properties, when set, may put the items of a menu and the
	// properties of an item into another order: nobody promises one. They are
	// called under the appliance's lock.
	Rows       func([]script.Record)
	Properties func(names []string)
}

// human prints rows for people. numbers has the position of each row.
type human struct {
	layout
	console Console
	rows    []script.Record
	numbers []int
}

// number gives each row its number, given all items of the menu.
func (h *human) number(all []script.Record) {
	if h.console.Renumber {
		all = h.rows
	}
	for _, row := range h.rows {
		h.numbers = append(h.numbers, slices.IndexFunc(all, func(other script.Record) bool {
			return other[".id"] == row[".id"]
		}))
	}
}

// detail is print detail: a header, and items with a blank line between.
func (h human) detail(proplist []string) string {
	lines := h.header()
	for i, row := range h.rows {
		if i > 0 {
			lines = append(lines, "")
		}
		prefix := h.prefix(i)
		w := &wrapper{
			width: h.console.Width, indent: cmp.Or(h.console.Indent, h.indent, len(prefix)),
			lines: []string{prefix}, used: len(prefix),
		}
		if comment := script.Format(row["comment"]); comment != "" {
			w.lines[0] += ";;; " + comment
			w.newLine("")
		}
		for _, t := range h.tokens(row, proplist) {
			w.add(t)
		}
		lines = append(lines, w.lines...)
	}
	return strings.Join(lines, "\n")
}

// tokens are the properties of a row that print detail shows.
func (h human) tokens(row script.Record, proplist []string) []token {
	var names []string
	found := map[string]token{}
	for _, c := range h.columns {
		t, shown := c.property(row[c.name])
		if !shown || proplist != nil && !slices.Contains(proplist, c.name) {
			continue
		}
		names = append(names, c.name)
		found[c.name] = t
	}
	if h.console.Properties != nil {
		h.console.Properties(names)
	}
	tokens := make([]token, 0, len(names))
	for _, name := range names {
		tokens = append(tokens, found[name])
	}
	return tokens
}

// terse is print terse: a line per item, values without quotes, so that some
// of them cannot be told apart.
func (h human) terse(proplist []string) string {
	var lines []string
	for i, row := range h.rows {
		var words []string
		if comment := script.Format(row["comment"]); comment != "" {
			words = append(words, ";;; "+comment)
		}
		for _, c := range h.columns {
			text, shown := c.show(row[c.name])
			if shown && (proplist == nil || slices.Contains(proplist, c.name)) {
				words = append(words, c.name+"="+text)
			}
		}
		lines = append(lines, h.prefix(i)+strings.Join(words, " "))
	}
	return strings.Join(lines, "\n")
}

// table is print without a form: a header with the columns in use, then a line
// per item, each column padded to its widest value.
func (h human) table(proplist []string) string {
	var columns []column
	for _, c := range h.columns {
		if c.brief && proplist == nil || slices.Contains(proplist, c.name) {
			columns = append(columns, c)
		}
	}
	lines := h.header()
	if len(h.rows) == 0 {
		return strings.Join(lines, "\n")
	}
	body := make([]string, len(h.rows)+1)
	body[0] = "#" + strings.Repeat(" ", len(h.prefix(0))-1)
	for i, row := range h.rows {
		body[i+1] = h.prefix(i)
		if comment := script.Format(row["comment"]); comment != "" {
			body[i+1] = ";;; " + comment + "\n" + body[i+1]
		}
	}
	titles := make([]string, 0, len(columns))
	for _, c := range columns {
		titles = append(titles, strings.ToUpper(c.name))
		h.appendColumn(body, c)
	}
	lines = append(lines, "Columns: "+strings.Join(titles, ", "))
	return strings.Join(append(lines, body...), "\n")
}

// appendColumn writes one column behind the lines of a table.
func (h human) appendColumn(lines []string, c column) {
	cells := []string{strings.ToUpper(c.name)}
	widest := len(cells[0])
	for _, row := range h.rows {
		text, shown := c.show(row[c.name])
		if !shown {
			text = ""
		}
		cells = append(cells, text)
		widest = max(widest, width(text))
	}
	for i, cell := range cells {
		lines[i] += " " + cell + strings.Repeat(" ", widest-width(cell))
	}
}

// header explains the flags in use; it is there even without a row.
func (h human) header() []string {
	if len(h.flags) == 0 {
		return nil
	}
	var legends []string
	for _, f := range h.used() {
		legends = append(legends, " "+f.letter+" - "+f.legend)
	}
	return []string{"Flags:" + strings.Join(legends, ";")}
}

// used are the flags that at least one row has; each has a place of its own.
func (h human) used() []flag {
	var used []flag
	for _, f := range h.flags {
		if slices.ContainsFunc(h.rows, func(row script.Record) bool { return row[f.property] == true }) {
			used = append(used, f)
		}
	}
	return used
}

// prefix is what stands before the first property: number and flags.
func (h human) prefix(i int) string {
	digits := 2
	for _, number := range h.numbers {
		digits = max(digits, len(strconv.Itoa(number)))
	}
	var letters strings.Builder
	for _, f := range h.used() {
		if h.rows[i][f.property] == true {
			letters.WriteString(f.letter)
		} else {
			letters.WriteString(" ")
		}
	}
	number := strconv.Itoa(h.numbers[i])
	padding := strings.Repeat(" ", max(0, 1-letters.Len()))
	return strings.Repeat(" ", digits-len(number)) + number + " " + letters.String() + padding + " "
}

// labelled is print of a menu without items: one line per property, the
// labels to the right. gap is the least distance from the left edge.
func labelled(names []string, row script.Record, gap int) string {
	longest := 0
	for _, name := range names {
		longest = max(longest, len(name))
	}
	var lines []string
	for _, name := range names {
		lines = append(lines, strings.Repeat(" ", gap+longest-len(name))+name+": "+yesNo(row[name]))
	}
	return strings.Join(lines, "\n")
}
