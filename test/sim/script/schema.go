package script

// Menu is one node of the command tree of a RouterOS version.
type Menu struct {
	// Path is the menu's own name in messages and calls, such as
	// "/system/resource".
	Path string
	// Menus and Commands are the children by name.
	Menus    map[string]*Menu
	Commands map[string]*Command
	// Properties are the names a where filter may use.
	Properties map[string]bool
}

// Command says how one menu command may be called.
type Command struct {
	// Args are the arguments that take a value, as in name=value.
	Args map[string]bool
	// Flags are the bare words it understands, such as detail.
	Flags map[string]bool
	// Positional names the values given without a name, in order.
	Positional []string
	// Clears says that !name takes the value of an argument away.
	Clears bool
	// Where says that a filter may follow the word where.
	Where bool
	// BareWhere says that the filter may also follow without that word.
	BareWhere bool
}

// Names builds a set for the fields of [Menu] and [Command].
func Names(names ...string) map[string]bool {
	set := make(map[string]bool, len(names))
	for _, name := range names {
		set[name] = true
	}
	return set
}

// Language is everything a parser has to know about the simulated version.
type Language struct {
	// Root is the top of the command tree.
	Root *Menu
	// SerializeOptions says that :serialize knows
	// options=json.no-string-conversion (7.17 and later).
	SerializeOptions bool
}
