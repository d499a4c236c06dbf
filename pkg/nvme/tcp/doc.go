// Package tcp is an NVMe/TCP initiator in user space that opens an admin queue and does no I/O. It finds out what a target
// does: whether it lets a host in under a subsystem NQN, and when it ends a connection. It needs no root and no kernel
// module. Nodes connect by their kernel, see package nvme.
//
//   - connect.go  [Connect] and the [Connection] that it makes
//   - pdu.go      the few messages that this takes, as bytes
package tcp
