// Package nvme is the initiator's side of NVMe/TCP: which subsystem a node is to connect to (Target), what it is
// connected to (Connection), and under which identity it asks (HostIdentity). It knows neither Kubernetes nor RouterOS.
//
// An Initiator (initiator.go) has the Linux kernel connect and disconnect: wishes go to /dev/nvme-fabrics (fabrics.go),
// and what became of them is read from sysfs each time anew, by the subsystem's NQN (sysfs.go), because the kernel gives
// the names of controllers and devices to others as soon as they are free. dials.go are the connections that the kernel is
// still making. options.go are the options of a connection,
// errors.go what the kernel's refusals mean.
package nvme
