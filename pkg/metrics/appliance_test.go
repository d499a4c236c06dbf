package metrics

import (
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

func TestTheApplianceSeries(t *testing.T) {
	m := NewController()
	m.ObserveCommand("get", "lost", time.Second)
	m.CountConnect("host_key")
	expect := func(connected float64) {
		t.Helper()
		got := []float64{
			testutil.ToFloat64(m.appliance.commands.WithLabelValues("get", "lost")),
			testutil.ToFloat64(m.appliance.connects.WithLabelValues("host_key")),
			testutil.ToFloat64(m.appliance.connected),
		}
		if want := []float64{1, 1, connected}; !slices.Equal(got, want) {
			t.Errorf("commands, connects, connected: got %v, want %v", got, want)
		}
	}
	m.SetConnected(true)
	expect(1)
	m.SetConnected(false)
	expect(0)
	count, err := testutil.GatherAndCount(m.Registry(), "rds_csi_appliance_command_duration_seconds")
	if want := len(rds.Kinds()); err != nil || count != want {
		t.Errorf("durations: got %d series, %v, want %d: each from the start, and none besides", count, err, want)
	}
}
