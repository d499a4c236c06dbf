package app

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/metrics"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/test/simtest"
)

func TestWhatGoesToTheApplianceIsCounted(t *testing.T) {
	_, config := simtest.Start(t)
	observed := metrics.NewController()
	options := &applianceOptions{config: config.Config, ssh: config.SSH}
	observeAppliance(options, observed)
	client, err := options.connect()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.List(t.Context()); err != nil {
		t.Fatal(err)
	}
	id, err := rds.NewVolumeID(simtest.Pool, "rds-csi", simtest.ClusterID, "pvc-1")
	if err != nil {
		t.Fatal(err)
	}
	disk, err := client.Create(t.Context(), id, rds.Size{Bytes: 1 << 20}, rds.NewRecord(id, "pvc-1", "", ""))
	if err == nil {
		disk, err = client.Publish(t.Context(), disk, disk.Record.Publish("node-a/machine-a", "mount", "single-node-writer", false))
	}
	if err == nil {
		_, err = client.Unpublish(t.Context(), disk, disk.Record.Unpublish(""))
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Survey(t.Context(), "rds-csi"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"rds_csi_pool_size_bytes", "rds_csi_pool_free_bytes", "rds_csi_pool_mounted", "rds_csi_appliance_info", "rds_csi_appliance_up"} {
		if count, err := testutil.GatherAndCount(observed.Registry(), name); err != nil || count != 1 {
			t.Errorf("%s: got %d series, %v, want one", name, count, err)
		}
	}
	expect := func(connected string) {
		t.Helper()
		want := `
# HELP rds_csi_appliance_connected 1 while there is an SSH connection for new commands; it is made when it is needed.
# TYPE rds_csi_appliance_connected gauge
rds_csi_appliance_connected ` + connected + `
# HELP rds_csi_appliance_connects_total Attempts to connect to the appliance, by result; credentials: a key file can't be read.
# TYPE rds_csi_appliance_connects_total counter
rds_csi_appliance_connects_total{result="credentials"} 0
rds_csi_appliance_connects_total{result="done"} 1
rds_csi_appliance_connects_total{result="host_key"} 0
rds_csi_appliance_connects_total{result="permission"} 0
rds_csi_appliance_connects_total{result="unreachable"} 0
# HELP rds_csi_fences_total Attempts to revoke access to an exported volume, whoever asked for it, by outcome: confirmed (the appliance showed that access is revoked), unconfirmed (the change was sent, and it isn't known whether it holds), failed (it wasn't sent, was refused, or wasn't kept).
# TYPE rds_csi_fences_total counter
rds_csi_fences_total{outcome="confirmed"} 1
rds_csi_fences_total{outcome="failed"} 0
rds_csi_fences_total{outcome="unconfirmed"} 0
`
		if err := testutil.GatherAndCompare(observed.Registry(), strings.NewReader(want), "rds_csi_appliance_connected", "rds_csi_appliance_connects_total", "rds_csi_fences_total"); err != nil {
			t.Error(err)
		}
	}
	expect("1")
	client.Close()
	expect("0")
	count, err := testutil.GatherAndCount(observed.Registry(), "rds_csi_appliance_commands_total")
	if want := len(rds.Kinds()) * len(rds.Outcomes()); err != nil || count != want {
		t.Errorf("series of commands: got %d, %v, want %d: each from the start, and none besides", count, err, want)
	}
}
