package app

import (
	"context"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim"
	"git.srvlab.io/whiskey/rds-csi-driver/test/simtest"
)

// The disk is there after the first contact, and again after the appliance went back to a time without it.
func TestTheKeeperIsLookedAfter(t *testing.T) {
	execs := make(chan struct{})
	simulator, config := simtest.Start(t, func(o *sim.Options) {
		o.Observe = func(sim.Execution) {
			select {
			case execs <- struct{}{}:
			case <-t.Context().Done():
			}
		}
	})
	options := &ControllerOptions{keeperPool: simtest.Pool, appliance: applianceOptions{directory: "rds-csi"}}
	keep := newKeeper(options, simtest.Client(t, config))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- keep.Run(ctx) }()
	for range 2 {
		for len(simulator.Disks()) == 0 {
			<-execs
		}
		if disk := simulator.Disks()[0]; disk.Slot != "rds-csi-keeper" || !disk.Exported {
			t.Errorf("got %+v, want the keeper, exported", disk)
		}
		if _, err := simulator.Exec(t.Context(), `/disk remove rds-csi-keeper`); err != nil {
			t.Fatal(err)
		}
		keep.lookAgain()
	}
	cancel()
	for {
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			return
		case <-execs:
		}
	}
}
