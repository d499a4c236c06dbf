package appliance_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// item is what a reader gets out of one item of print detail.
type item struct {
	number, flags, comment string
	properties             map[string]string
}

// readDetail reads the output of print detail back, given where it wraps, how
// far continuation lines are indented and which properties there can be.
// Values are as printed, strings without their quotes.
func readDetail(t *testing.T, out string, indent int, names []string) []item {
	t.Helper()
	header, body, found := strings.Cut(strings.TrimSuffix(out, "\r\n"), "\r\n")
	if !found || !strings.HasPrefix(header, "Flags:") {
		t.Fatalf("got %q, want a header of flags and items", out)
	}
	prefix := regexp.MustCompile(`^ *(\d+) (.{` + string(rune('0'+max(1, strings.Count(header, " - ")))) + `}) `)
	var items []item
	for text := range strings.SplitSeq(body, "\r\n\r\n") {
		lines := strings.Split(text, "\r\n")
		head := prefix.FindStringSubmatch(lines[0])
		if head == nil {
			t.Fatalf("item %q does not begin with number and flags", lines[0])
		}
		i := item{number: head[1], flags: strings.TrimSpace(head[2]), properties: map[string]string{}}
		rest := strings.TrimPrefix(lines[0], head[0])
		if comment, commented := strings.CutPrefix(rest, ";;; "); commented {
			i.comment, rest = comment, ""
		}
		for _, line := range lines[1:] {
			if strings.TrimSpace(line[:indent]) != "" {
				t.Fatalf("line %q is not indented by %d", line, indent)
			}
			rest = rejoin(rest, line[indent:], names)
		}
		readProperties(t, rest, names, i.properties)
		items = append(items, i)
	}
	return items
}

// rejoin undoes one wrap: it was between two properties if it wasn't inside a
// string and the next line begins with a property.
func rejoin(before, line string, names []string) string {
	if before == "" || inString(before) || !startsProperty(line, names) {
		return before + line
	}
	return before + " " + line
}

func inString(text string) bool {
	open := false
	for i := 0; i < len(text); i++ {
		switch {
		case open && text[i] == '\\':
			i++
		case text[i] == '"':
			open = !open
		}
	}
	return open
}

func startsProperty(text string, names []string) bool {
	name, _, found := strings.Cut(text, "=")
	return found && slices.Contains(names, name)
}

func readProperties(t *testing.T, text string, names []string, properties map[string]string) {
	t.Helper()
	for text != "" {
		if !startsProperty(text, names) {
			t.Fatalf("no property begins at %q", text)
		}
		name, rest, _ := strings.Cut(text, "=")
		end := 0
		for end < len(rest) && (inString(rest[:end]) || rest[end] != ' ' || !startsProperty(rest[end+1:], names)) {
			end++
		}
		value := rest[:end]
		if unquoted, ok := strings.CutPrefix(value, `"`); ok {
			value = strings.NewReplacer(`\\`, `\`, `\"`, `"`, `\$`, `$`).Replace(strings.TrimSuffix(unquoted, `"`))
		}
		if _, twice := properties[name]; twice {
			t.Fatalf("property %s is there twice", name)
		}
		properties[name] = value
		text = strings.TrimPrefix(rest[end:], " ")
	}
}
