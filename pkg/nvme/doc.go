// Package nvme is the initiator's side of NVMe/TCP: which subsystem a node is to connect to (Target), what it is
// connected to (Connection), and under which identity it asks (HostIdentity). It knows neither Kubernetes nor RouterOS.
package nvme
