package apiserver

import (
	"bufio"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/test/cluster"
)

// leads tells whether a controller's metrics say that it leads.
func leads(t *testing.T, controller string) bool {
	t.Helper()
	return metric(t, controller, "rds_csi_leader") == 1
}

// metric gives the value of a metric of a process, whose name has its labels.
func metric(t *testing.T, process, name string) float64 {
	t.Helper()
	request := must[*http.Request](t)(http.NewRequestWithContext(t.Context(), http.MethodGet, process+"/metrics", http.NoBody))
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		if value, found := strings.CutPrefix(lines.Text(), name+" "); found {
			return must[float64](t)(strconv.ParseFloat(value, 64))
		}
	}
	t.Fatalf("%s/metrics doesn't have %s", process, name)
	return 0
}

func lease(t *testing.T) *coordinationv1.Lease {
	t.Helper()
	return must[*coordinationv1.Lease](t)(admin().CoordinationV1().Leases("rds-csi").Get(t.Context(), "rds-csi-controller", metav1.GetOptions{}))
}

// The leader is killed, then a node is deleted. The other controller clears the node's attachment after the dead leader's
// lease has run out, by the last renewal in the Lease and the deletion in the audit log. How long after depends on the
// machine; that it is the very next leader shows in the Lease.
func TestAKilledLeaderIsFollowed(t *testing.T) {
	makeNode(t, "node-failover", "machine")
	makeVolume(t, "pv-failover")
	makeAttachment(t, "csi-failover", "pv-failover", "node-failover", "machine")
	controllers := map[string]string{}
	for _, name := range []string{"controller-1", "controller-2"} {
		controllers[name] = must[string](t)(api.StartDriver(t.Context(), controller, name,
			"--leader-election-lease-duration=5s", "--leader-election-renew-deadline=3s", "--leader-election-retry-period=500ms"))
	}
	leader, other := "", ""
	eventually(t, "exactly one leads", func() bool {
		leader, other = "controller-1", "controller-2"
		if !leads(t, controllers[leader]) {
			leader, other = other, leader
		}
		return leads(t, controllers[leader]) && !leads(t, controllers[other])
	})
	eventually(t, "the lease names its holder and was renewed", func() bool {
		lease := lease(t)
		return *lease.Spec.HolderIdentity != "" && lease.Spec.RenewTime.After(lease.Spec.AcquireTime.Time)
	})
	if _, err := api.Deletion("volumeattachments", "csi-failover"); !errors.Is(err, cluster.ErrNoDeletion) {
		t.Fatalf("the attachment of a living node was deleted: %v", err)
	}

	if err := api.KillDriver(leader); err != nil {
		t.Fatal(err)
	}
	last := lease(t)
	deleteNode(t, "node-failover")
	var cleared cluster.Deletion
	eventually(t, "the other clears the attachment", func() bool {
		var err error
		cleared, err = api.Deletion("volumeattachments", "csi-failover")
		return err == nil
	})

	duration := time.Duration(*last.Spec.LeaseDurationSeconds) * time.Second
	took := cleared.At.Sub(last.Spec.RenewTime.Time)
	t.Logf("cleared %s after the last renewal, with leases of %s", took.Round(time.Millisecond), duration)
	if duration != 5*time.Second || took < duration {
		t.Errorf("cleared %s after the last renewal, want more than one lease of %s", took, duration)
	}
	if cleared.User != api.ControllerUser() || !strings.HasPrefix(cleared.Agent, "rds-csi-controller/") {
		t.Errorf("deleted by %s (%s), want the driver", cleared.User, cleared.Agent)
	}
	now := lease(t)
	if *now.Spec.HolderIdentity == *last.Spec.HolderIdentity || *now.Spec.LeaseTransitions != *last.Spec.LeaseTransitions+1 || !leads(t, controllers[other]) {
		t.Errorf("the lease went from %s to %s, want to the other controller", *last.Spec.HolderIdentity, *now.Spec.HolderIdentity)
	}
	eventually(t, "people are told", func() bool {
		selector := fields.Set{"involvedObject.kind": "PersistentVolume", "involvedObject.name": "pv-failover", "reason": string(attach.StaleAttachmentCleared)}
		return len(must[*corev1.EventList](t)(admin().CoreV1().Events("default").List(t.Context(), metav1.ListOptions{FieldSelector: selector.String()})).Items) == 1
	})
	if err := api.KillDriver(other); err != nil {
		t.Fatal(err)
	}
}
