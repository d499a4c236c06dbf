package host

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Capability is a Linux capability.
type Capability int

// The capabilities that the driver needs on a node. docs/nodes.md lists them too, and says what is seen without them.
const (
	dacReadSearch = Capability(unix.CAP_DAC_READ_SEARCH)
	sysPtrace     = Capability(unix.CAP_SYS_PTRACE)
	sysAdmin      = Capability(unix.CAP_SYS_ADMIN)
	sysResource   = Capability(unix.CAP_SYS_RESOURCE)
)

// Capabilities returns every capability that the driver needs on a node.
func Capabilities() []Capability {
	return []Capability{dacReadSearch, sysPtrace, sysAdmin, sysResource}
}

// String returns the name that the kernel's documentation has for it.
func (c Capability) String() string {
	switch c {
	case dacReadSearch:
		return "CAP_DAC_READ_SEARCH"
	case sysPtrace:
		return "CAP_SYS_PTRACE"
	case sysAdmin:
		return "CAP_SYS_ADMIN"
	case sysResource:
		return "CAP_SYS_RESOURCE"
	default:
		return fmt.Sprintf("capability %d", int(c))
	}
}

// Lacking returns those of the capabilities that this process lacks; none if it isn't known what it has.
func Lacking(needed ...Capability) []Capability {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(needed), func(c Capability) bool { return data[c/32].Effective>>(c%32)&1 == 1 })
}

// nameLacking adds to the error of what takes these capabilities which of them this process lacks. The error alone
// doesn't tell: it says to root that permission is denied, or that root may do that. An error number of another kind has
// another cause; a command has no such number.
func nameLacking(err error, needed ...Capability) error {
	if _, numbered := errors.AsType[unix.Errno](err); err == nil || numbered && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	lacking := Lacking(needed...)
	if len(lacking) == 0 {
		return err
	}
	names := make([]string, 0, len(lacking))
	for _, c := range lacking {
		names = append(names, c.String())
	}
	return fmt.Errorf("this process lacks %s (run the node plugin in a privileged container): %w", strings.Join(names, " and "), err)
}
