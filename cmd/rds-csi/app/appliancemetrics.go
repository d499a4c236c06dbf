package app

import (
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/metrics"
)

// observeAppliance has everything that goes to the appliance counted. Something can be received from the channel whenever
// the connection was lost since the last time.
func observeAppliance(options *applianceOptions, observed *metrics.Metrics) (lost <-chan struct{}) {
	losses := make(chan struct{}, 1)
	options.config.Observe = observed.ObserveCommand
	options.ssh.ObserveConnect = observed.CountConnect
	options.ssh.ObserveConnected = func(connected bool) {
		observed.SetConnected(connected)
		if connected {
			return
		}
		select {
		case losses <- struct{}{}:
		default:
		}
	}
	return losses
}
