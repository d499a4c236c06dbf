package capability

import (
	"fmt"
	"regexp"
	"strings"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
)

// longestOptions is what the kernel takes of mount options, in bytes: a page without the byte that ends it.
const longestOptions = 4095

// MountOptions splits mount flags into single options. Each flag may hold several, separated by commas; commas
// within double quotes separate nothing, and SELinux's categories (context=…:s0:c1,c2) belong to the context even without
// quotes. Errors are *failure.InvalidError.
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

// otherMount reports whether an option mounts something else than was asked for, or in another place.
func otherMount(option string) bool {
	switch option {
	case "bind", "rbind", "move", "remount", "loop":
		return true
	default:
		return strings.HasPrefix(option, "loop=")
	}
}

// splitAtCommas splits at commas outside of double quotes; closed is false if a quote is left open.
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

// isCategory reports whether an option is what follows the first comma of an SELinux label: c5, or a range c1.c5.
func isCategory(option string) bool {
	matched, err := regexp.MatchString(`^c[0-9]+(\.c[0-9]+)?$`, option)
	return err == nil && matched
}

// quoted puts the value of an option in double quotes, where mount(8) leaves commas alone.
func quoted(option string) string {
	name, value, _ := strings.Cut(unquoted(option), "=")
	return name + `="` + value + `"`
}

func unquoted(option string) string { return strings.ReplaceAll(option, `"`, "") }
