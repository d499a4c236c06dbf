package capability

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
)

// longestOptions is the kernel's limit for mount options, in bytes: a page without the terminating byte.
const longestOptions = 4095

// MountOptions splits mount flags into single options. A flag may contain several, separated by commas. A comma within
// double quotes separates nothing, and neither does one between SELinux categories (context=…:s0:c1,c2). Errors are
// *failure.InvalidError.
func MountOptions(flags []string) ([]string, error) {
	var options []string
	for _, flag := range flags {
		split, closed := splitAtCommas(flag)
		if !closed || strings.ContainsAny(flag, "\x00\n") {
			return nil, &failure.InvalidError{Field: "volume_capability mount_flags " + flag, Want: "options as mount -o takes them, quotes closed"}
		}
		for _, option := range split {
			switch last := len(options) - 1; {
			case option == "":
			case otherMount(option):
				return nil, &failure.InvalidError{Field: "volume_capability mount_flags " + option, Want: "options of a filesystem, not another kind of mount"}
			case last >= 0 && isCategory(option) && isContext(options[last]):
				options[last] = unquoted(options[last]) + "," + option
			default:
				options = append(options, option)
			}
		}
	}
	if length := len(strings.Join(options, ",")); length > longestOptions {
		return nil, &failure.InvalidError{Field: "volume_capability mount_flags", Want: fmt.Sprintf("at most %d bytes together, not %d", longestOptions, length)}
	}
	for i, option := range options {
		if isContext(option) && strings.Contains(option, ",") {
			options[i] = quoted(option)
		}
	}
	return options, nil
}

// otherMount reports whether an option makes mount(8) do something else than mount the device.
func otherMount(option string) bool {
	return slices.Contains([]string{"bind", "rbind", "move", "remount", "loop"}, option) || strings.HasPrefix(option, "loop=")
}

// splitAtCommas splits at commas outside of double quotes. closed is false if a quote isn't closed.
func splitAtCommas(flag string) (options []string, closed bool) {
	quoted, start := false, 0
	for i := range len(flag) {
		switch {
		case flag[i] == '"':
			quoted = !quoted
		case flag[i] == ',' && !quoted:
			options = append(options, flag[start:i])
			start = i + 1
		}
	}
	return append(options, flag[start:]), !quoted
}

// isContext reports whether an option carries an SELinux label.
func isContext(option string) bool {
	name, _, found := strings.Cut(option, "=")
	return found && (name == "context" || name == "fscontext" || name == "defcontext" || name == "rootcontext")
}

// isCategory reports whether an option is an SELinux category, c5, or a range of them, c1.c5.
func isCategory(option string) bool {
	matched, err := regexp.MatchString(`^c[0-9]+(\.c[0-9]+)?$`, option)
	return err == nil && matched
}

// quoted puts the value of an option in double quotes, within which a comma doesn't end an option.
func quoted(option string) string {
	name, value, _ := strings.Cut(unquoted(option), "=")
	return name + `="` + value + `"`
}

func unquoted(option string) string { return strings.ReplaceAll(option, `"`, "") }
