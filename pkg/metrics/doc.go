// Package metrics has every metric of this driver. Other packages report through observers that this package implements. A
// scrape does no I/O.
//
// Where to find what:
//
//   - metrics.go      what every process has
//   - controller.go   Controller: what the controller says about Kubernetes; appliance.go: and about commands for the appliance
//   - pools.go        what the appliance says of itself: whether it is up, its version, its pools
//   - failover.go     its attachments of nodes that are gone: how long they wait, and how long failovers take
//   - clientgo.go     what client-go reports of its requests and queues
//   - node.go         Node: the metrics of a node process
//   - restarter.go    Restarter: those of the pod-restarter
//
// docs/metrics.md is written from what is registered here: make docs.
package metrics
