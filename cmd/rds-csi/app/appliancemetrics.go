package app

import (
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/metrics"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds/transport"
)

// observeAppliance has everything that goes to the appliance counted. Something can be received from the channel whenever
// the connection was lost since the last time.
func observeAppliance(options *applianceOptions, observed *metrics.Metrics) (lost <-chan struct{}) {
	losses := make(chan struct{}, 1)
	observed.DeclareAppliance(texts(rds.Kinds()), texts(rds.Outcomes()), texts(transport.ConnectResults()))
	options.config.Observe = func(kind rds.Kind, outcome rds.Outcome, took time.Duration) {
		observed.ObserveCommand(string(kind), string(outcome), took)
	}
	options.ssh.ObserveConnect = func(result transport.ConnectResult) { observed.CountConnect(string(result)) }
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

func texts[T ~string](values []T) []string {
	var texts []string
	for _, value := range values {
		texts = append(texts, string(value))
	}
	return texts
}
