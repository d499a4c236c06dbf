// Package kernel shows the disks of the simulator to real initiators: it
// drives the Linux kernel's own NVMe/TCP target, nvmet, through configfs. The
// real appliance's target is the same code.
//
// It needs root and the module nvmet-tcp. A [Target] is handed to the
// simulator as sim.Options.Exports.Kernel; tests that use it run in a guest,
// see test/guest.
//
// target.go is the port and the life of its subsystems, subsystem.go one
// subsystem in configfs.
package kernel
