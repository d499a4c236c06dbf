package metrics

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestTheApplianceSeries(t *testing.T) {
	m := New()
	m.DeclareAppliance([]string{"get"}, []string{"done", "lost"}, []string{"done", "host_key"})
	m.ObserveCommand("get", "lost", time.Second)
	m.CountConnect("host_key")
	m.SetConnected(true)
	compare := func(connected string) {
		t.Helper()
		want := `
# HELP rds_csi_appliance_commands_total Commands for the appliance, by kind and by how they ended.
# TYPE rds_csi_appliance_commands_total counter
rds_csi_appliance_commands_total{command="get",outcome="done"} 0
rds_csi_appliance_commands_total{command="get",outcome="lost"} 1
# HELP rds_csi_appliance_connected 1 while there is an SSH connection for new commands; it is made when it is needed.
# TYPE rds_csi_appliance_connected gauge
rds_csi_appliance_connected ` + connected + `
# HELP rds_csi_appliance_connects_total Attempts to connect to the appliance, by result.
# TYPE rds_csi_appliance_connects_total counter
rds_csi_appliance_connects_total{result="done"} 0
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
	count, err := testutil.GatherAndCount(m.Registry(), "rds_csi_appliance_command_duration_seconds")
	if err != nil || count != 1 {
		t.Errorf("durations: got %d series, %v, want 1", count, err)
	}
}
