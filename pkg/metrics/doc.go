// Package metrics is every metric of this driver: all names stand in metrics.go, those about the appliance in appliance.go.
// Counters are fed by the observers that the other packages are given; nothing here does any I/O when it is scraped.
package metrics
