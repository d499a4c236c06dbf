package appliance

import (
	"maps"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/script"
)

// newLanguage builds the command tree of the version and packages.
func (a *Appliance) newLanguage() script.Language {
	system := &script.Menu{Path: "/system", Menus: map[string]*script.Menu{
		"resource": a.resourceMenu(),
		"package":  a.packageMenu(),
	}}
	return script.Language{
		Root: &script.Menu{Menus: map[string]*script.Menu{
			"disk":   a.diskMenu(),
			"file":   fileMenu(),
			"system": system,
		}},
		SerializeOptions: a.version.since(17),
	}
}

func printCommand() *script.Command {
	return &script.Command{
		Args:  script.Names("proplist"),
		Flags: script.Names("detail", "as-value", "count-only", "without-paging"),
		Where: true,
	}
}

func findCommand() *script.Command {
	return &script.Command{Where: true, BareWhere: true}
}

func getCommand() *script.Command {
	return &script.Command{
		Args:       script.Names("numbers", "value-name"),
		Positional: []string{"numbers", "value-name"},
	}
}

func removeCommand() *script.Command {
	return &script.Command{Args: script.Names("numbers"), Positional: []string{"numbers"}}
}

func (a *Appliance) diskMenu() *script.Menu {
	args := a.diskArguments()
	properties := maps.Clone(args)
	maps.Copy(properties, script.Names(
		".id", "type", "slot", "size", "free", "fs", "model", "mounted", "mount-point", "state",
		"block-device", "empty", "slot-default", "parent", "sector-size", "about",
	))
	set := maps.Clone(args)
	set["numbers"] = true
	return &script.Menu{
		Path:       "/disk",
		Properties: properties,
		Commands: map[string]*script.Command{
			"add":    {Args: args},
			"set":    {Args: set, Positional: []string{"numbers"}},
			"remove": removeCommand(),
			"find":   findCommand(),
			"get":    getCommand(),
			"print":  printCommand(),
		},
	}
}

// diskArguments are the properties that add and set take.
func (a *Appliance) diskArguments() map[string]bool {
	args := script.Names("type", "slot", "comment", "disabled")
	if a.version.since(17) {
		maps.Copy(args, script.Names("file-path", "file-size", "file-offset", "mount-filesystem", "mount-read-only"))
	}
	if a.version.since(18) {
		args["compress"] = true
	}
	if a.options.WithoutRose {
		return args
	}
	maps.Copy(args, script.Names("nvme-tcp-export", "nvme-tcp-server-port", "nvme-tcp-server-allow-host-name"))
	if a.version.since(21) {
		args["nvme-tcp-server-nqn"] = true
	}
	return args
}

func fileMenu() *script.Menu {
	return &script.Menu{
		Path:       "/file",
		Properties: script.Names(".id", "name", "type", "size", "last-modified"),
		Commands: map[string]*script.Command{
			"add":    {Args: script.Names("name", "type")},
			"remove": removeCommand(),
			"find":   findCommand(),
			"get":    getCommand(),
			"print":  printCommand(),
		},
	}
}

func (a *Appliance) packageMenu() *script.Menu {
	return &script.Menu{
		Path:       "/system/package",
		Properties: script.Names(".id", "name", "version", "disabled"),
		Commands: map[string]*script.Command{
			"find": findCommand(), "get": getCommand(), "print": printCommand(),
		},
	}
}

func (a *Appliance) resourceMenu() *script.Menu {
	return &script.Menu{
		Path: "/system/resource",
		Commands: map[string]*script.Command{
			"get":   {Args: script.Names("value-name"), Positional: []string{"value-name"}},
			"print": printCommand(),
		},
	}
}
