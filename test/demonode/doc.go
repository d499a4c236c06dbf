// Command demonode is a node process for a cluster on one machine: the wiring of "rds-csi node", with a connector that
// attaches loop devices instead of NVMe namespaces. It plays a kernel's part towards the RouterOS simulator, which says
// whether a subsystem may be used, on which file it is, and when it is taken away.
//
// Where to find what:
//
//   - main.go        flags and wiring
//   - connector.go   csi.Connector: connect, list, disconnect
//   - follow.go      what happens to a connection afterwards: revoked, stream broken, connected again
//   - cutoff.go      ending every way to write to a device that was taken away
//   - loop.go        loop devices: attach, detach, who has which file
//   - simulator.go   the simulator's HTTP interface
//   - state.go       what must be known after a restart
//
// What must hold: the simulator is told that a session is over only when the loop device is really gone, and a file
// never has two loop devices, since two live mounts of one image destroy it.
package main
