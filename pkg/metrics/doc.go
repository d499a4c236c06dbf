// Package metrics has every metric of this driver: metrics.go those about Kubernetes, appliance.go those about the
// appliance, restarter.go those of the pod-restarter. Other packages report through observers that this package
// implements. A scrape does no I/O.
package metrics
