// Package monitoring has what proves the component manifests/components/monitoring. It is a Go module of its own, so that
// Prometheus, kustomize and Grafana's schema stay out of the driver's.
//
// alerts tests what ships: the alerts with promtool, their runbooks, the dashboard, and that every metric which is named
// exists. rulefile finds the rules in what ships.
package monitoring
