package appliance

import (
	"strings"
	"unicode/utf8"
)

const (
	// defaultWidth is what the appliance assumes without a terminal.
	defaultWidth = 80
	// margin is how many columns at the right a new property leaves free.
	margin = 5
	// overhang is how many columns too far the last word may go.
	overhang = 5
)

// token is one property of a detail print.
type token struct {
	// text is name=value as printed.
	text string
	// room is how many columns the property claims if its text has fewer.
	room int
}

// width counts columns.
func width(text string) int { return utf8.RuneCountInString(text) }

// wrapper lays out the properties of one item. Nobody has documented the rule;
// this one gives back every captured output: a property moves to the next line
// when its first word would reach into the margin, and one that is still much
// too long is broken, in the middle of a word, at the last column.
type wrapper struct {
	width, indent int
	lines         []string
	used          int
	// begun says that the last line has a property already.
	begun bool
}

// add puts one property behind what is there already.
func (w *wrapper) add(t token) {
	first, _, _ := strings.Cut(t.text, " ")
	switch {
	case !w.begun:
	case w.width > 0 && w.used+1+max(width(first), t.room) > w.width-margin:
		w.newLine("")
	default:
		w.lines[len(w.lines)-1] += " "
		w.used++
	}
	w.begun = true
	w.lines[len(w.lines)-1] += t.text
	w.used += max(width(t.text), t.room)
	if w.width > 0 && width(w.lines[len(w.lines)-1]) > w.width+overhang {
		w.breakUp()
	}
}

// newLine begins a continuation line with text.
func (w *wrapper) newLine(text string) {
	w.lines = append(w.lines, strings.Repeat(" ", w.indent)+text)
	w.used, w.begun = w.indent+width(text), text != ""
}

// breakUp cuts the last line at the last column until the rest fits.
func (w *wrapper) breakUp() {
	for {
		last := len(w.lines) - 1
		runes := []rune(w.lines[last])
		if len(runes) <= w.width {
			return
		}
		w.lines[last] = string(runes[:w.width])
		w.newLine(string(runes[w.width:]))
	}
}
