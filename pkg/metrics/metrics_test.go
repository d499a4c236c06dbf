package metrics

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
)

// Dashboards and alerts are built on these names: they don't change.
func TestNamesAndFirstSeries(t *testing.T) {
	m := NewController()
	m.ObserveCall("ControllerPublishVolume", "OK", time.Second)
	m.ObserveReconcile(attach.ActionClear, nil, time.Second)
	m.CountDecision(attach.HandOff)
	m.CountHandOff()
	m.CountEventDropped()
	m.BeginLeading()
	m.BeginMassDeletion()
	m.SetOrphans("disk_without_pv", 2)
	m.CountRestored("went_back")
	want := `
# HELP rds_csi_events_dropped_total Kubernetes Events not written because too many waited already.
# TYPE rds_csi_events_dropped_total counter
rds_csi_events_dropped_total 1
# HELP rds_csi_grace_period_used_total Volumes handed off to a new node while the old one was still detaching.
# TYPE rds_csi_grace_period_used_total counter
rds_csi_grace_period_used_total 1
# HELP rds_csi_leader 1 while this process clears stale attachments, 0 while another one does.
# TYPE rds_csi_leader gauge
rds_csi_leader 1
# HELP rds_csi_mass_deletion_held 1 while clearing and take-over are paused because too many nodes vanished at once.
# TYPE rds_csi_mass_deletion_held gauge
rds_csi_mass_deletion_held 1
# HELP rds_csi_orphans Orphans on the appliance or in Kubernetes, by kind, as of the last audit; 0 where no audit runs.
# TYPE rds_csi_orphans gauge
rds_csi_orphans{kind="disk_without_pv"} 2
rds_csi_orphans{kind="file_without_disk"} 0
rds_csi_orphans{kind="holder_without_attachment"} 0
rds_csi_orphans{kind="pv_of_version_0"} 0
rds_csi_orphans{kind="pv_without_disk"} 0
# HELP rds_csi_publish_decisions_total Decisions on requests to publish a volume, by verdict.
# TYPE rds_csi_publish_decisions_total counter
rds_csi_publish_decisions_total{verdict="already_published"} 0
rds_csi_publish_decisions_total{verdict="conflict"} 0
rds_csi_publish_decisions_total{verdict="hand_off"} 1
rds_csi_publish_decisions_total{verdict="incompatible"} 0
rds_csi_publish_decisions_total{verdict="join"} 0
rds_csi_publish_decisions_total{verdict="publish"} 0
rds_csi_publish_decisions_total{verdict="take_over"} 0
rds_csi_publish_decisions_total{verdict="unfenced"} 0
rds_csi_publish_decisions_total{verdict="unknown"} 0
rds_csi_publish_decisions_total{verdict="went_back"} 0
# HELP rds_csi_reconcile_actions_total What the attachment reconciler did, by action.
# TYPE rds_csi_reconcile_actions_total counter
rds_csi_reconcile_actions_total{action="clear"} 1
rds_csi_reconcile_actions_total{action="clear_dead"} 0
rds_csi_reconcile_actions_total{action="detach_stuck"} 0
rds_csi_reconcile_actions_total{action="error"} 0
rds_csi_reconcile_actions_total{action="hold"} 0
rds_csi_reconcile_actions_total{action="in_use"} 0
rds_csi_reconcile_actions_total{action="none"} 0
rds_csi_reconcile_actions_total{action="recheck"} 0
rds_csi_reconcile_actions_total{action="restore"} 0
rds_csi_reconcile_actions_total{action="skip"} 0
rds_csi_reconcile_actions_total{action="wait_for_pods"} 0
# HELP rds_csi_stale_attachments_cleared_total VolumeAttachments deleted because their node is proven gone.
# TYPE rds_csi_stale_attachments_cleared_total counter
rds_csi_stale_attachments_cleared_total 1
# HELP rds_csi_volumes_restored_total Volumes whose record or export was written again after the appliance had lost it, by reason: went_back (the appliance went back in time), export_lost (the export was off).
# TYPE rds_csi_volumes_restored_total counter
rds_csi_volumes_restored_total{reason="export_lost"} 0
rds_csi_volumes_restored_total{reason="went_back"} 1
`
	if err := testutil.GatherAndCompare(m.Registry(), strings.NewReader(want), "rds_csi_events_dropped_total", "rds_csi_grace_period_used_total", "rds_csi_leader",
		"rds_csi_mass_deletion_held", "rds_csi_orphans", "rds_csi_publish_decisions_total", "rds_csi_reconcile_actions_total", "rds_csi_stale_attachments_cleared_total",
		"rds_csi_volumes_restored_total"); err != nil {
		t.Error(err)
	}
	m.EndMassDeletion()
	m.EndLeading()
	if leads := testutil.ToFloat64(m.leader); leads != 0 {
		t.Errorf("rds_csi_leader after the end of leading: got %g, want 0", leads)
	}
	if paused := testutil.ToFloat64(m.massDeletion); paused != 0 {
		t.Errorf("rds_csi_mass_deletion_held after the end: got %g, want 0", paused)
	}
	problems, err := testutil.GatherAndLint(m.Registry())
	if err != nil || len(problems) != 0 {
		t.Errorf("against Prometheus' conventions: %v, %v", problems, err)
	}
}

func TestOperationsTellSuccessFromError(t *testing.T) {
	m := NewController()
	m.ObserveCall("ControllerPublishVolume", "Unavailable", time.Second)
	m.ObserveCall("ControllerUnpublishVolume", "OK", time.Second)
	m.ObserveCall("CreateVolume", "OK", time.Second)
	m.ObserveReconcile("error", errors.New("refused"), time.Second)
	families, err := m.Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, family := range families {
		if family.GetName() != "rds_csi_attachment_operation_duration_seconds" {
			continue
		}
		for _, metric := range family.GetMetric() {
			got = append(got, fmt.Sprintf("%s %s %d", metric.GetLabel()[0].GetValue(), metric.GetLabel()[1].GetValue(), metric.GetHistogram().GetSampleCount()))
		}
	}
	want := []string{"attach error 1", "attach success 0", "detach error 0", "detach success 1", "reconcile error 1", "reconcile success 0"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// A node has no leader, no valve and no appliance: a series that says 0 of them would count in alerts on controllers.
func TestANodeHasNoSeriesOfTheController(t *testing.T) {
	families, err := New().Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if name := family.GetName(); strings.HasPrefix(name, "rds_csi_") && !strings.HasPrefix(name, "rds_csi_node_") && name != "rds_csi_build_info" {
			t.Errorf("a node process has %s", name)
		}
	}
}

// A check of a filesystem takes up to half an hour, and the calls that wait for it mustn't all be in the bucket above the last.
func TestCallsAreToldApartUpToHalfAnHour(t *testing.T) {
	node := New()
	node.ObserveCall("NodeStageVolume", "OK", 29*time.Minute)
	families, err := node.Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != "csi_plugin_operations_seconds" {
			continue
		}
		buckets := family.GetMetric()[0].GetHistogram().GetBucket()
		if last := buckets[len(buckets)-1]; last.GetCumulativeCount() != 1 || last.GetUpperBound() != 1800 {
			t.Errorf("the last bucket is %v, want the call in one up to 1800 s", last)
		}
	}
}

// Ages grow while nothing is reported, and are 0 without an attachment rather than the age of the epoch.
func TestAgesAreComputedWhenTheyAreScraped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewController()
		expect := func(stale, staleFor, detachingFor float64) {
			t.Helper()
			want := fmt.Sprintf(`
# HELP rds_csi_detaching_attachments_oldest_seconds For how long the oldest VolumeAttachment that is being deleted has been seen so; 0 if there is none, or where this process doesn't lead.
# TYPE rds_csi_detaching_attachments_oldest_seconds gauge
rds_csi_detaching_attachments_oldest_seconds %g
# HELP rds_csi_stale_attachment_oldest_seconds For how long the oldest of them has been known to be stale; 0 if there is none.
# TYPE rds_csi_stale_attachment_oldest_seconds gauge
rds_csi_stale_attachment_oldest_seconds %g
# HELP rds_csi_stale_attachments VolumeAttachments whose node is proven gone and that aren't deleted yet: pods on the node still use the volume, clearing is paused or hasn't begun, or a request failed. 0 where this process doesn't lead.
# TYPE rds_csi_stale_attachments gauge
rds_csi_stale_attachments %g
`, detachingFor, staleFor, stale)
			if err := testutil.GatherAndCompare(m.Registry(), strings.NewReader(want), "rds_csi_detaching_attachments_oldest_seconds",
				"rds_csi_stale_attachment_oldest_seconds", "rds_csi_stale_attachments"); err != nil {
				t.Error(err)
			}
		}
		expect(0, 0, 0)
		m.SetUnfinished(attach.Unfinished{Stale: 2, StaleSince: time.Now(), DetachingSince: time.Now().Add(-time.Second)})
		expect(2, 0, 1)
		<-time.After(time.Minute)
		expect(2, 60, 61)
		m.SetUnfinished(attach.Unfinished{})
		expect(0, 0, 0)
	})
}
