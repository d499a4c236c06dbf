package app

import (
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/metrics"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

// observeAppliance has everything that goes to the appliance counted. Something can be received from the channel whenever
// the connection was lost since the last time.
func observeAppliance(config *rds.Config, observed *metrics.Metrics) (lost <-chan struct{}) {
	losses := make(chan struct{}, 1)
	config.Observe = observed.ObserveCommand
	config.ObserveConnect = observed.CountConnect
	config.ObserveConnected = func(connected bool) {
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
