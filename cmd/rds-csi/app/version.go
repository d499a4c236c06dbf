package app

import "runtime/debug"

// released is the version of a binary that ships. release/binary.sh sets it with the linker.
//
//nolint:gochecknoglobals // the linker sets nothing else
var released string

// version returns the version that this binary was released as, else that of the module that it was built from, which is
// "(devel)" for a build from a work tree.
func version() string {
	if released != "" {
		return released
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
