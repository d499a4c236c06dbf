// Package alerts tests what manifests/components/monitoring ships, as kustomize renders it. rules_test.go runs the alerts
// through promtool, with a file of testdata for each alert, and with every part of an alert switched off; metrics_test.go
// knows every metric and label; runbooks_test.go and dashboard_test.go hold docs/runbooks.md and the dashboard to them.
package alerts
