package metrics

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

func TestTheApplianceSeries(t *testing.T) {
	m := New()
	m.ObserveCommand("get", "lost", time.Second)
	m.CountConnect("host_key")
	m.SetConnected(true)
	compare := func(connected string) {
		t.Helper()
		want := `
# HELP rds_csi_appliance_commands_total Commands for the appliance, by kind and by how they ended.
# TYPE rds_csi_appliance_commands_total counter
rds_csi_appliance_commands_total{command="get",outcome="lost"} 1
# HELP rds_csi_appliance_connected 1 while there is an SSH connection for new commands; it is made when it is needed.
# TYPE rds_csi_appliance_connected gauge
rds_csi_appliance_connected ` + connected + `
# HELP rds_csi_appliance_connects_total Attempts to connect to the appliance, by result.
# TYPE rds_csi_appliance_connects_total counter
rds_csi_appliance_connects_total{result="host_key"} 1
`
		if err := testutil.GatherAndCompare(m.Registry(), strings.NewReader(want), "rds_csi_appliance_commands_total",
			"rds_csi_appliance_connected", "rds_csi_appliance_connects_total"); err != nil {
			t.Error(err)
		}
	}
	compare("1")
	m.SetConnected(false)
	compare("0")
	for registry, want := range map[*Metrics]int{m: 1, NewController(): len(rds.Kinds())} {
		count, err := testutil.GatherAndCount(registry.Registry(), "rds_csi_appliance_command_duration_seconds")
		if err != nil || count != want {
			t.Errorf("durations: got %d series, %v, want %d", count, err, want)
		}
	}
}
