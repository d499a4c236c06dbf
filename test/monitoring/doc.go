// Package monitoring has what proves the component manifests/components/monitoring. It is a Go module of its own, so that
// Prometheus, kustomize and Grafana's schema stay out of the driver's.
//
// alerts tests what ships: the alerts with promtool, their runbooks, the dashboard, and that every metric which is named
// exists. rulecheck is a program: a real Prometheus that scrapes processes and waits until alerts fire. rulefile finds the
// rules in what ships, for both.
package monitoring
