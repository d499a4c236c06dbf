// Package appliance is the state of a simulated RouterOS storage appliance and
// the menu commands that read and change it. It knows neither SSH nor HTTP.
//
// An [Appliance] is opened over a state directory: config.json holds the
// disks, files/<pool>/... the real, sparse backing files. [Appliance.Exec]
// runs one console line; lines that run at once interleave statement by
// statement, which is all the real appliance promises.
//
// Where to look:
//
//   - options.go: everything that can be chosen, including what nobody knows
//     about the real appliance (Unknowns)
//   - schema.go: the command tree of a version
//   - exec.go: one console line; menus.go: dispatch and permissions
//   - disk*.go, subvolume.go, files.go, copy.go, traffic.go, system.go, logins.go:
//     the menus
//   - rows.go: find and get, the same for all menus; print.go: the forms of
//     print; human.go, layout.go, wrap.go: those for people
//   - tree.go: the files as SFTP shows them
//   - config.go: persistence; flash.go: what a power cut makes of it
//   - device.go: commands that go half way or take their time (timing.go)
//   - pool.go, accident.go: what happens to pools, slots and files
//   - reboot.go: phases of a boot, and time that is only pretended
package appliance
