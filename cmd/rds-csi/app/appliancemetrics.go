package app

import (
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/metrics"
)

// observeAppliance has commands and connections counted. lost receives a value after the connection was lost; several
// losses in a row may be one value.
func observeAppliance(options *applianceOptions, observed *metrics.Controller) (lost <-chan struct{}) {
	losses := make(chan struct{}, 1)
	options.config.Observe = observed.ObserveCommand
	options.config.ObserveFence = observed.ObserveFence
	options.config.ObservePools, options.config.ObserveVersion = observed.ObservePools, observed.ObserveVersion
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
