// Package csi is the gRPC server of the Container Storage Interface, with what every process of the driver serves. The
// two services have packages of their own, and this package knows neither:
//
//   - controller  the controller service: volumes on the appliance
//   - node        the node service: volumes on this machine
//
// Where to find what:
//
//   - server.go                Server: serves CSI on a Unix socket
//   - socket.go                the socket: replaces one that nobody serves, and nothing else
//   - interceptor.go           around each call: its logger, one log line, one status code, one observation
//   - identity.go              Identity: the identity service
//   - internal/failure         the errors of the services; the only place where an error becomes a gRPC code
//   - internal/capability      which volume capabilities and mount options are supported
//   - internal/publishcontext  what the controller passes to the node, as both encode it
//   - internal/volumelock      one operation per volume at a time
//
// # Locks
//
// An RPC that changes a volume locks it, within its own service and process. Another one for the same volume gets
// ABORTED instead of waiting; doc.go of each service names the exceptions. These locks don't keep two controllers
// apart: the conditions of package rds do.
//
// # Verbosity
//
// Errors and decisions are always logged. Level 2 adds what was changed; 4 every call and its outcome; 5 every command
// and its output, and Probe.
package csi
