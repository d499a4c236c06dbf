package appliance

import (
	"maps"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/script"
)

// newLanguage builds the command tree of the version and packages.
func (a *Appliance) newLanguage() script.Language {
	return script.Language{
		Root: &script.Menu{Menus: map[string]*script.Menu{
			"disk":   a.diskMenu(),
			"file":   a.fileMenu(),
			"system": a.systemMenu(),
			"ip": {Path: "/ip", Menus: map[string]*script.Menu{
				"service": a.listMenu("/ip/service", "name", "port", "proto", "disabled", "dynamic", "connection", "max-sessions", "remote"),
			}},
			"user": {Path: "/user", Menus: map[string]*script.Menu{
				"active": a.listMenu("/user/active", "when", "name", "address", "via"),
			}},
		}},
		SerializeOptions: a.version.since(17),
	}
}

func (a *Appliance) printCommand() *script.Command {
	flags := script.Names("detail", "terse", "as-value", "count-only", "without-paging")
	if a.version.since(21) {
		flags["show-sensitive"] = true
	}
	return &script.Command{Args: script.Names("proplist"), Flags: flags, Where: true}
}

func findCommand() *script.Command {
	return &script.Command{Where: true, BareWhere: true}
}

func getCommand() *script.Command { return takes("numbers", "value-name") }

// takes is a command whose arguments may also be given without their names, in
// this order.
func takes(positional ...string) *script.Command {
	return &script.Command{Args: script.Names(positional...), Positional: positional}
}

func (a *Appliance) diskMenu() *script.Menu {
	args := a.diskArguments()
	properties := maps.Clone(args)
	maps.Copy(properties, script.Names(
		".id", "type", "slot", "size", "free", "fs", "model", "mounted", "mount-point", "state",
		"block-device", "empty", "slot-default", "parent", "sector-size", "about", "use", "fs-label", "fs-uuid",
		"raid-uuid", "smb-sharing", "media-sharing", "media-interface",
	))
	if !a.options.WithoutRose {
		maps.Copy(properties, script.Names("raid-master", "iscsi-export", "nfs-sharing"))
	}
	set := maps.Clone(args)
	set["numbers"] = true
	add := maps.Clone(args)
	add["copy-from"] = true
	menu := &script.Menu{
		Path:       "/disk",
		Properties: properties,
		Commands: map[string]*script.Command{
			"add":             {Args: add},
			"set":             {Args: set, Positional: []string{"numbers"}, Clears: true},
			"unset":           takes("numbers", "value-name"),
			"remove":          takes("numbers"),
			"enable":          takes("numbers"),
			"disable":         takes("numbers"),
			"comment":         takes("numbers", "comment"),
			"copy":            {Args: script.Names("src", "dst")},
			"monitor-traffic": takes("numbers"),
			"find":            findCommand(),
			"get":             getCommand(),
			"print":           a.printCommand(),
		},
	}
	if a.version.since(18) && !a.options.WithoutRose {
		subvolumes := a.listMenu(subvolumeMenu, "fs", "name", "parent", "read-only")
		subvolumes.Commands["add"] = &script.Command{Args: script.Names("fs", "name", "parent", "read-only")}
		subvolumes.Commands["remove"] = takes("numbers")
		menu.Menus = map[string]*script.Menu{"btrfs": {Path: "/disk/btrfs", Menus: map[string]*script.Menu{"subvolume": subvolumes}}}
	}
	menu.Commands["monitor-traffic"].Flags = script.Names("once")
	if a.version.since(22) {
		menu.Commands["trim"] = takes("numbers")
	}
	return menu
}

// diskArguments are the properties that add and set take.
func (a *Appliance) diskArguments() map[string]bool {
	args := script.Names("type", "slot", "comment", "disabled")
	if a.version.since(17) {
		maps.Copy(args, script.Names(
			"file-path", "file-size", "file-offset", "mount-filesystem", "mount-read-only", "mount-point-template", "swap",
		))
	}
	if a.version.since(18) {
		args["compress"] = true
	}
	if a.options.WithoutRose {
		return args
	}
	maps.Copy(args, script.Names(
		"nvme-tcp-export", "nvme-tcp-server-port", "nvme-tcp-server-allow-host-name", "nvme-tcp-server-password",
	))
	if a.version.since(21) {
		args["nvme-tcp-server-nqn"] = true
	}
	return args
}

func (a *Appliance) fileMenu() *script.Menu {
	menu := a.listMenu("/file", "name", "type", "size", "last-modified")
	menu.Commands["add"] = &script.Command{Args: script.Names("name", "type")}
	menu.Commands["remove"] = takes("numbers")
	if a.version.since(23) {
		menu.Commands["copy"] = &script.Command{Args: script.Names("numbers", "name"), Positional: []string{"numbers"}}
	}
	return menu
}

func (a *Appliance) systemMenu() *script.Menu {
	menus := map[string]*script.Menu{
		"package": a.listMenu("/system/package", "name", "version", "disabled"),
		"health":  a.listMenu("/system/health", "name", "value", "type"),
	}
	for _, name := range []string{"resource", "identity", "clock", "routerboard"} {
		menus[name] = &script.Menu{
			Path: "/system/" + name,
			Commands: map[string]*script.Command{
				"get":   takes("value-name"),
				"print": a.printCommand(),
			},
		}
	}
	return &script.Menu{Path: "/system", Menus: menus}
}

// listMenu is a menu with items that can only be read.
func (a *Appliance) listMenu(path string, properties ...string) *script.Menu {
	return &script.Menu{
		Path:       path,
		Properties: script.Names(append(properties, ".id")...),
		Commands: map[string]*script.Command{
			"find": findCommand(), "get": getCommand(), "print": a.printCommand(),
		},
	}
}
