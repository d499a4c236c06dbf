package apiserver

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/informers"
)

// controllerLeases are the Leases of the manifests: of the driver, and by the names that the sidecars give theirs.
func controllerLeases() []string {
	return []string{controller, "rds-csi-srvlab-io", "external-attacher-leader-rds-csi-srvlab-io", "external-resizer-rds-csi-srvlab-io"}
}

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
	for _, name := range controllerLeases() {
		lease := must[*coordinationv1.Lease](t)(leases.Get(t.Context(), name, metav1.GetOptions{}))
		must[*coordinationv1.Lease](t)(leases.Update(t.Context(), lease, metav1.UpdateOptions{}))
	}
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

// needed are the own rights of driver and pod-restarter, one by one: client-go makes do without some of them, by lists in
// the place of watches or the other way round, until the day on which it can't.
func needed() map[string]map[string][]authorizationv1.ResourceAttributes {
	events := []authorizationv1.ResourceAttributes{{Resource: "events", Namespace: "default"}, {Resource: "events", Namespace: "anywhere"}}
	return map[string]map[string][]authorizationv1.ResourceAttributes{
		controller: {
			"get list watch":        {{Resource: "nodes"}, {Resource: "persistentvolumes"}},
			"get list watch delete": {{Group: "storage.k8s.io", Resource: "volumeattachments"}},
			"list watch":            {{Resource: "pods"}},
			"create patch":          events,
			"get":                   {{Resource: "namespaces", Name: "kube-system"}},
			"get update":            {{Group: "coordination.k8s.io", Resource: "leases", Namespace: "rds-csi", Name: controller}},
		},
		restarter: {
			"get list watch delete": {{Resource: "pods"}, {Resource: "pods", Namespace: "anywhere"}},
			"get list watch":        {{Resource: "persistentvolumes"}, {Resource: "persistentvolumeclaims"}},
			"create patch":          events,
			"get update":            {{Group: "coordination.k8s.io", Resource: "leases", Namespace: "rds-csi", Name: restarter}},
		},
	}
}

func TestTheAccountsHaveEveryRightByItself(t *testing.T) {
	for account, rights := range needed() {
		for verbs, resources := range rights {
			for verb := range strings.FieldsSeq(verbs) {
				for _, resource := range resources {
					resource.Verb = verb
					if !allowed(t, account, resource) {
						t.Errorf("account %s may not do this, and must: %+v", account, resource)
					}
				}
			}
		}
	}
}

func allowed(t *testing.T, account string, what authorizationv1.ResourceAttributes) bool {
	t.Helper()
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{User: api.AccountUser(account), ResourceAttributes: &what}}
	return must[*authorizationv1.SubjectAccessReview](t)(admin().AuthorizationV1().SubjectAccessReviews().Create(t.Context(), review, metav1.CreateOptions{})).Status.Allowed
}

// The accounts may do what their processes need, and nothing that would let them do harm elsewhere.
func TestTheAccountsHaveNoMoreRights(t *testing.T) {
	lease := func(verb, namespace, name string) authorizationv1.ResourceAttributes {
		return authorizationv1.ResourceAttributes{Group: "coordination.k8s.io", Resource: "leases", Namespace: namespace, Verb: verb, Name: name}
	}
	everybody := []authorizationv1.ResourceAttributes{
		lease("update", "rds-csi", "another"),
		lease("get", "rds-csi", "another"),
		lease("create", "kube-system", ""),
		lease("create", "rds-csi", ""),
		{Group: "events.k8s.io", Resource: "events", Namespace: "default", Verb: "create"},
		{Resource: "events", Namespace: "default", Verb: "delete"},
		{Resource: "pods", Namespace: "default", Verb: "create"},
		{Resource: "pods", Namespace: "default", Verb: "patch"},
		{Resource: "pods", Namespace: "default", Verb: "deletecollection"},
		{Resource: "pods", Subresource: "status", Namespace: "default", Verb: "patch"},
		{Resource: "pods", Subresource: "eviction", Namespace: "default", Verb: "create"},
		{Resource: "nodes", Verb: "delete"},
		{Resource: "nodes", Verb: "patch"},
		{Resource: "secrets", Namespace: "rds-csi", Verb: "get"},
		{Resource: "namespaces", Name: "default", Verb: "get"},
		{Group: "storage.k8s.io", Resource: "volumeattachments", Verb: "create"},
	}
	for account, own := range map[string][]authorizationv1.ResourceAttributes{
		controller: {
			lease("delete", "rds-csi", controller),
			lease("update", "kube-node-lease", controller),
			lease("update", "rds-csi", restarter),
			{Resource: "pods", Namespace: "default", Verb: "delete"},
		},
		restarter: {
			lease("delete", "rds-csi", restarter),
			lease("update", "rds-csi", controller),
			{Resource: "persistentvolumes", Verb: "delete"},
			{Resource: "persistentvolumeclaims", Namespace: "default", Verb: "update"},
			{Group: "storage.k8s.io", Resource: "volumeattachments", Verb: "list"},
			{Resource: "nodes", Verb: "list"},
			{Group: "apps", Resource: "replicasets", Namespace: "default", Verb: "delete"},
		},
		"rds-csi-node": {
			{Resource: "pods", Namespace: "default", Verb: "delete"},
			{Resource: "pods", Namespace: "default", Verb: "get"},
		},
	} {
		for _, forbidden := range append(own, everybody...) {
			if allowed(t, account, forbidden) {
				t.Errorf("account %s may do this: %+v", account, forbidden)
			}
		}
	}
}

// Whatever accounts the manifests have: one role of theirs gives the right to delete pods, and one account has that role.
func TestOneRoleMayDeletePods(t *testing.T) {
	deletes := func(rules []rbacv1.PolicyRule) bool {
		return slices.ContainsFunc(rules, func(rule rbacv1.PolicyRule) bool {
			named := func(names []string, wanted ...string) bool {
				return slices.ContainsFunc(append(wanted, "*"), func(name string) bool { return slices.Contains(names, name) })
			}
			return named(rule.APIGroups, "") && named(rule.Resources, "pods") && named(rule.Verbs, "delete", "deletecollection")
		})
	}
	var roles, accounts []string
	for _, role := range must[*rbacv1.ClusterRoleList](t)(admin().RbacV1().ClusterRoles().List(t.Context(), metav1.ListOptions{})).Items {
		if strings.HasPrefix(role.Name, "rds-csi") && deletes(role.Rules) {
			roles = append(roles, role.Name)
		}
	}
	for _, role := range must[*rbacv1.RoleList](t)(admin().RbacV1().Roles("rds-csi").List(t.Context(), metav1.ListOptions{})).Items {
		if deletes(role.Rules) {
			roles = append(roles, role.Namespace+"/"+role.Name)
		}
	}
	for _, binding := range must[*rbacv1.ClusterRoleBindingList](t)(admin().RbacV1().ClusterRoleBindings().List(t.Context(), metav1.ListOptions{})).Items {
		for _, subject := range binding.Subjects {
			if slices.Contains(roles, binding.RoleRef.Name) {
				accounts = append(accounts, subject.Name)
			}
		}
	}
	if want := []string{restarter}; !slices.Equal(roles, want) || !slices.Equal(accounts, want) {
		t.Errorf("roles %v of accounts %v may delete pods, want %s alone", roles, accounts, restarter)
	}
}
