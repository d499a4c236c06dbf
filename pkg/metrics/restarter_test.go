package metrics

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/restart"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/volumehealth"
)

// Names and labels of metrics are stored in people's alerts: golden.
func TestRestarterMetrics(t *testing.T) {
	m := NewRestarter()
	m.BeginLeading()
	m.CountEventDropped()
	m.CountAction(restart.ActionWait)
	m.CountRestarted(volumehealth.DeviceReplaced)
	m.CountWithheld(volumehealth.ConnectionLost)
	want := `
# HELP rds_csi_events_dropped_total Kubernetes Events not written because too many waited already.
# TYPE rds_csi_events_dropped_total counter
rds_csi_events_dropped_total 1
# HELP rds_csi_pod_restart_actions_total What the pod-restarter did about pods with a report about a volume, by action; one for each look.
# TYPE rds_csi_pod_restart_actions_total counter
rds_csi_pod_restart_actions_total{action="error"} 0
rds_csi_pod_restart_actions_total{action="no_controller"} 0
rds_csi_pod_restart_actions_total{action="none"} 0
rds_csi_pod_restart_actions_total{action="recheck"} 0
rds_csi_pod_restart_actions_total{action="restart"} 0
rds_csi_pod_restart_actions_total{action="wait"} 1
rds_csi_pod_restart_actions_total{action="withhold"} 0
# HELP rds_csi_pod_restarter_leader 1 while this process restarts pods, 0 while another one does.
# TYPE rds_csi_pod_restarter_leader gauge
rds_csi_pod_restarter_leader 1
# HELP rds_csi_pods_restarted_total Pods deleted because the device of one of their volumes is lost, by the reason that kubelet reports.
# TYPE rds_csi_pods_restarted_total counter
rds_csi_pods_restarted_total{reason="ConnectionLost"} 0
rds_csi_pods_restarted_total{reason="DeviceReplaced"} 1
rds_csi_pods_restarted_total{reason="FilesystemReadOnly"} 0
rds_csi_pods_restarted_total{reason="FilesystemShutDown"} 0
# HELP rds_csi_pods_restarts_withheld_total Pods that would have been deleted if --restart-pods-on-lost-volumes was set, each counted once, by the reason that kubelet reports.
# TYPE rds_csi_pods_restarts_withheld_total counter
rds_csi_pods_restarts_withheld_total{reason="ConnectionLost"} 1
rds_csi_pods_restarts_withheld_total{reason="DeviceReplaced"} 0
rds_csi_pods_restarts_withheld_total{reason="FilesystemReadOnly"} 0
rds_csi_pods_restarts_withheld_total{reason="FilesystemShutDown"} 0
`
	if err := testutil.GatherAndCompare(m.Registry(), strings.NewReader(want), "rds_csi_events_dropped_total", "rds_csi_pod_restart_actions_total",
		"rds_csi_pod_restarter_leader", "rds_csi_pods_restarted_total", "rds_csi_pods_restarts_withheld_total"); err != nil {
		t.Error(err)
	}
	m.EndLeading()
	if leads := testutil.ToFloat64(m.leader); leads != 0 {
		t.Errorf("rds_csi_pod_restarter_leader after the end of leading: got %g, want 0", leads)
	}
	problems, err := testutil.GatherAndLint(m.Registry())
	if err != nil || len(problems) != 0 {
		t.Errorf("against Prometheus' conventions: %v, %v", problems, err)
	}
}
