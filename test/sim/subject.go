package sim

import (
	"regexp"
	"strings"
)

// subject is what a line is about.
type subject struct{ command, slot, file string }

// subjectOf finds the first slot and file-path that a line names in quotes.
func subjectOf(command string) subject {
	first := func(pattern string) string {
		found := regexp.MustCompile(pattern).FindStringSubmatch(command)
		if found == nil {
			return ""
		}
		return found[1]
	}
	return subject{
		command: command,
		slot:    first(`\bslot="([^"\\$]+)"`),
		file:    first(`\bfile-path="/?([^"\\$]+)"`),
	}
}

// fill reports whether there is something for every placeholder in lines.
func (s subject) fill(lines []string) bool {
	all := strings.Join(lines, "")
	return (s.slot != "" || !strings.Contains(all, "{slot}")) && (s.file != "" || !strings.Contains(all, "{file}"))
}

// expand puts the subject into a line.
func (s subject) expand(line string) string {
	return strings.NewReplacer("{command}", s.command, "{slot}", s.slot, "{file}", s.file).Replace(line)
}

// contains reports whether a line has the command of the menu in it, in either
// of the forms "/disk add" and "/disk/add".
func contains(command, menu, name string) bool {
	return strings.Contains(command, "/"+menu+" "+name) || strings.Contains(command, "/"+menu+"/"+name)
}
