// Package nvme is the initiator's side of NVMe/TCP on Linux. It knows neither Kubernetes nor RouterOS.
//
// Where to find what:
//
//   - nvme.go        Target: the subsystem that a node is to connect to; Connection: one that it is connected to
//   - host.go        HostIdentity: the host NQN and host ID under which a node connects
//   - options.go     Options: the options of a connection, under the kernel's names
//   - initiator.go   Initiator: connects, disconnects and rescans, and finds the block device
//   - ready.go       what this process and its kernel need before they can connect
//   - pending.go     connects that the kernel hasn't answered yet
//   - fabrics.go     /dev/nvme-fabrics: the options that are written to it, and its reply
//   - sysfs.go       the kernel's subsystems, controllers and namespaces
//   - errors.go      what can go wrong; what the kernel's errors mean
//
// # Rules
//
// Nothing that sysfs shows is kept: the kernel gives the name of a controller or device to another one as soon as it is
// free. So each method reads sysfs anew, and finds what it needs by the subsystem's NQN.
package nvme
