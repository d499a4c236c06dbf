// Package export stands for the kernel side of the appliance's NVMe/TCP
// target: which subsystems exist right now, which hosts are connected to
// them, and what happens to those hosts when a subsystem is taken away.
//
// registry.go holds subsystems and their life, session.go the connected
// hosts, revocation.go the record of every host that was cut off,
// kernel.go what a real target has to do to follow along.
package export
