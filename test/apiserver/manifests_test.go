package apiserver

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"git.srvlab.io/whiskey/rds-csi-driver/test/manifests"
)

// What is applied without any change is accepted, too: the examples in it are no key and no address, but that is the
// driver's to say.
func TestTheManifestsAreAcceptedAsTheyStand(t *testing.T) {
	makeDefaultAccount(t, metav1.NamespaceDefault)
	for _, folder := range []string{"../../manifests", "../../manifests/pod-restarter", "../../manifests/example"} {
		if err := api.Check(t.Context(), folder); err != nil {
			t.Error(err)
		}
	}
}

// Pod Security's profile "restricted" is for pods that need no privilege. The node plugin needs it, so it is refused.
func TestTheControllersAreRestricted(t *testing.T) {
	const name = "restricted"
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}}}
	must[*corev1.Namespace](t)(admin().CoreV1().Namespaces().Create(t.Context(), namespace, metav1.CreateOptions{}))
	makeDefaultAccount(t, name)
	for workload, accepted := range map[string]bool{controller: true, restarter: true, "rds-csi-node": false} {
		template := must[manifests.Pod](t)(api.Pod(workload)).PodTemplateSpec
		template.Spec.ServiceAccountName = ""
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: workload, Labels: template.Labels}, Spec: template.Spec}
		_, err := admin().CoreV1().Pods(name).Create(t.Context(), pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		refused := apierrors.IsForbidden(err) && strings.Contains(err.Error(), "PodSecurity")
		if accepted && err != nil || !accepted && !refused {
			t.Errorf("%s: %v, want it accepted: %t", workload, err, accepted)
		}
	}
}

// makeDefaultAccount makes the account that pods have which name none. The controller manager would make it.
func makeDefaultAccount(t *testing.T, namespace string) {
	t.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
	if _, err := admin().CoreV1().ServiceAccounts(namespace).Create(t.Context(), account, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
}
