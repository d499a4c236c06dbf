package apiserver

import (
	"context"
	"fmt"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/informers"
)

// Everything that the driver asks of the API server and that no other test here asks with the driver's account.
func TestTheAccountHasTheRightsTheDriverNeeds(t *testing.T) {
	client := account(t, nil)
	cluster := listen(t, client)
	if _, err := client.CoreV1().Namespaces().Get(t.Context(), metav1.NamespaceSystem, metav1.GetOptions{}); err != nil {
		t.Errorf("the UID of kube-system: %v", err)
	}
	makeVolume(t, "pv-rights")
	makeAttachment(t, "csi-rights", "pv-rights", "node-rights", "machine")
	var attachment attach.Attachment
	eventually(t, "the attachment is in the cache", func() (found bool) {
		attachment, found = cluster.CachedAttachment("csi-rights")
		return found
	})
	bounded, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if pods, err := cluster.PodsUsing(bounded, attachment); err != nil || len(pods) != 0 {
		t.Errorf("pods: got %v, %v, want none", pods, err)
	}
	leases := client.CoordinationV1().Leases("rds-csi")
	ignoreGone(t, admin().CoordinationV1().Leases("rds-csi").Delete(t.Context(), "rds-csi-controller", metav1.DeleteOptions{}))
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: "rds-csi-controller"}}
	lease = must[*coordinationv1.Lease](t)(leases.Create(t.Context(), lease, metav1.CreateOptions{}))
	must[*coordinationv1.Lease](t)(leases.Update(t.Context(), lease, metav1.UpdateOptions{}))
	must[*coordinationv1.Lease](t)(leases.Get(t.Context(), lease.Name, metav1.GetOptions{}))
}

// The real API server takes the events, shows them where people look, and counts what repeats.
func TestEventsAreShownWherePeopleLook(t *testing.T) {
	cluster := listen(t, account(t, nil))
	volume := makeVolume(t, "pv-events")
	makeAttachment(t, "csi-events", volume.Name, "node-events", "machine")
	eventually(t, "the volume is in the cache", func() bool {
		attachment, _ := cluster.CachedAttachment("csi-events")
		return attachment.Volume != ""
	})
	recorder := informers.NewRecorder(cluster.Cluster, func() { t.Error("a note was dropped") })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- recorder.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	note := attach.Note{Reason: attach.DetachStuck, Warning: true, PV: volume.Name, Node: "node-events", Message: "said three times"}
	for range 3 {
		recorder.Record(note)
	}
	recorder.Record(attach.Note{Reason: attach.OrphanedDisk, Warning: true, Message: "about no object of Kubernetes"})
	for _, about := range []struct {
		namespace, kind, name, uid string
		count                      int32
	}{
		{"default", "PersistentVolumeClaim", volume.Name, string(volume.Spec.ClaimRef.UID), 3},
		{"default", "PersistentVolume", volume.Name, string(volume.UID), 3},
		{"default", "Node", "node-events", "node-events", 3},
		{"default", "CSIDriver", driver, "", 1},
	} {
		selector := fields.Set{"involvedObject.kind": about.kind, "involvedObject.name": about.name}
		if about.uid != "" {
			selector["involvedObject.uid"] = about.uid
		}
		var found []corev1.Event
		eventually(t, fmt.Sprintf("event on %s %s, counting %d", about.kind, about.name, about.count), func() bool {
			found = must[*corev1.EventList](t)(admin().CoreV1().Events(about.namespace).List(t.Context(), metav1.ListOptions{FieldSelector: selector.String()})).Items
			return len(found) > 0 && found[0].Count == about.count
		})
		if event := found[0]; len(found) != 1 || event.Type != corev1.EventTypeWarning || event.Source.Component != "rds-csi-controller" {
			t.Errorf("got %d events, the first: %+v", len(found), event)
		}
	}
}

// needed are the driver's own rights, one by one: client-go makes do without some of them, by lists in the place of
// watches or the other way round, until the day on which it can't.
func needed() map[string][]authorizationv1.ResourceAttributes {
	return map[string][]authorizationv1.ResourceAttributes{
		"get list watch":        {{Resource: "nodes"}, {Resource: "persistentvolumes"}},
		"get list watch delete": {{Group: "storage.k8s.io", Resource: "volumeattachments"}},
		"list watch":            {{Resource: "pods"}},
		"create patch":          {{Resource: "events", Namespace: "default"}, {Resource: "events", Namespace: "anywhere"}},
		"get":                   {{Resource: "namespaces", Name: "kube-system"}},
		"get update":            {{Group: "coordination.k8s.io", Resource: "leases", Namespace: "rds-csi", Name: "rds-csi-controller"}},
		"create":                {{Group: "coordination.k8s.io", Resource: "leases", Namespace: "rds-csi"}},
	}
}

func TestTheAccountHasEveryRightByItself(t *testing.T) {
	for verbs, resources := range needed() {
		for verb := range strings.FieldsSeq(verbs) {
			for _, resource := range resources {
				resource.Verb = verb
				if !allowed(t, resource) {
					t.Errorf("the driver's account may not do this, and must: %+v", resource)
				}
			}
		}
	}
}

func allowed(t *testing.T, what authorizationv1.ResourceAttributes) bool {
	t.Helper()
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{User: api.ControllerUser(), ResourceAttributes: &what}}
	return must[*authorizationv1.SubjectAccessReview](t)(admin().AuthorizationV1().SubjectAccessReviews().Create(t.Context(), review, metav1.CreateOptions{})).Status.Allowed
}

// The account may do what driver and sidecars need, and nothing that would let it do harm elsewhere.
func TestTheAccountHasNoMoreRights(t *testing.T) {
	for _, forbidden := range []authorizationv1.ResourceAttributes{
		{Group: "coordination.k8s.io", Resource: "leases", Namespace: "rds-csi", Verb: "update", Name: "another"},
		{Group: "coordination.k8s.io", Resource: "leases", Namespace: "rds-csi", Verb: "get", Name: "another"},
		{Group: "coordination.k8s.io", Resource: "leases", Namespace: "rds-csi", Verb: "delete", Name: "rds-csi-controller"},
		{Group: "coordination.k8s.io", Resource: "leases", Namespace: "kube-system", Verb: "create"},
		{Group: "coordination.k8s.io", Resource: "leases", Namespace: "kube-node-lease", Verb: "update", Name: "rds-csi-controller"},
		{Group: "events.k8s.io", Resource: "events", Namespace: "default", Verb: "create"},
		{Resource: "events", Namespace: "default", Verb: "delete"},
		{Resource: "pods", Namespace: "default", Verb: "delete"},
		{Resource: "nodes", Verb: "delete"},
		{Resource: "nodes", Verb: "patch"},
		{Resource: "secrets", Namespace: "rds-csi", Verb: "get"},
		{Resource: "namespaces", Name: "default", Verb: "get"},
		{Group: "storage.k8s.io", Resource: "volumeattachments", Verb: "create"},
	} {
		if allowed(t, forbidden) {
			t.Errorf("the driver's account may do this: %+v", forbidden)
		}
	}
}
