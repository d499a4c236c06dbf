package apiserver

import (
	"errors"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/restart"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/volumehealth"
	"git.srvlab.io/whiskey/rds-csi-driver/test/cluster"
)

// place is a namespace in which the test is every controller and kubelet.
type place struct{ namespace string }

func makePlace(t *testing.T, namespace string) place {
	t.Helper()
	must[*corev1.Namespace](t)(admin().CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{}))
	// The API server takes no pod without it.
	must[*corev1.ServiceAccount](t)(admin().CoreV1().ServiceAccounts(namespace).Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}, metav1.CreateOptions{}))
	return place{namespace}
}

// makeClaim makes a claim that is bound to a volume of that driver.
func (p place) makeClaim(t *testing.T, name, driver string) {
	t.Helper()
	volume := makeVolumeOf(t, p.namespace+"-"+name, driver)
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: p.namespace}, Spec: corev1.PersistentVolumeClaimSpec{
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, VolumeName: volume.Name,
		Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
	}}
	must[*corev1.PersistentVolumeClaim](t)(admin().CoreV1().PersistentVolumeClaims(p.namespace).Create(t.Context(), claim, metav1.CreateOptions{}))
}

func claimed(name string) corev1.VolumeSource {
	return corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: name}}
}

// makePod makes a pod with a volume on a node, as a controller of that name does; none has the empty name.
func (p place) makePod(t *testing.T, name, controller string, source corev1.VolumeSource) {
	t.Helper()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: p.namespace}, Spec: corev1.PodSpec{
		NodeName: "node-restart", Containers: []corev1.Container{{Name: "main", Image: "example"}},
		Volumes: []corev1.Volume{{Name: "data", VolumeSource: source}},
	}}
	if controller != "" {
		pod.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: controller, UID: types.UID("uid-of-" + controller), Controller: new(true)}}
	}
	must[*corev1.Pod](t)(admin().CoreV1().Pods(p.namespace).Create(t.Context(), pod, metav1.CreateOptions{}))
}

// report has kubelet report that the pod runs, and the conditions of its volume.
func (p place) report(t *testing.T, name string, reasons ...string) {
	t.Helper()
	pod := must[*corev1.Pod](t)(admin().CoreV1().Pods(p.namespace).Get(t.Context(), name, metav1.GetOptions{}))
	pod.Status.Phase = corev1.PodRunning
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}, {Type: corev1.PodReadyToStartContainers, Status: corev1.ConditionTrue}}
	health := corev1.PodVolumeHealth{Name: "data", LastTransitionTime: metav1.Now()}
	for _, reason := range reasons {
		health.HealthConditions = append(health.HealthConditions, corev1.VolumeHealthCondition{Status: corev1.VolumeHealthInaccessible, Reason: reason, Message: "why"})
	}
	pod.Status.VolumeHealth = []corev1.PodVolumeHealth{health}
	pod = must[*corev1.Pod](t)(admin().CoreV1().Pods(p.namespace).UpdateStatus(t.Context(), pod, metav1.UpdateOptions{}))
	if len(pod.Status.VolumeHealth) != 1 || len(pod.Status.VolumeHealth[0].HealthConditions) != len(reasons) {
		t.Fatalf("the API server doesn't keep status.volumeHealth: is the feature gate on? %+v", pod.Status.VolumeHealth)
	}
}

// end has kubelet end a pod that is being deleted.
func (p place) end(t *testing.T, name string) {
	t.Helper()
	ignoreGone(t, admin().CoreV1().Pods(p.namespace).Delete(t.Context(), name, metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))}))
}

// terminating tells which pods are being deleted.
func (p place) terminating(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, pod := range must[*corev1.PodList](t)(admin().CoreV1().Pods(p.namespace).List(t.Context(), metav1.ListOptions{})).Items {
		if pod.DeletionTimestamp != nil {
			names = append(names, pod.Name)
		}
	}
	return names
}

func (p place) events(t *testing.T, pod string, reason restart.Reason) []corev1.Event {
	t.Helper()
	selector := fields.Set{"involvedObject.kind": "Pod", "involvedObject.name": pod, "reason": string(reason)}
	return must[*corev1.EventList](t)(admin().CoreV1().Events(p.namespace).List(t.Context(), metav1.ListOptions{FieldSelector: selector.String()})).Items
}

// With the rights of its own account, the restarter deletes the pods with a lost volume of this driver, three of one
// ReplicaSet one at a time, and no others. Without its flag it deletes none.
func TestThePodRestarterDeletesExactlyWhatItShould(t *testing.T) {
	p := makePlace(t, "restart")
	for name, driver := range map[string]string{"ours": driver, "single-data": driver, "theirs": "other.example"} {
		p.makeClaim(t, name, driver)
	}
	for _, pod := range []struct {
		name, controller string
		source           corev1.VolumeSource
		reason           string
	}{
		{"set-a", "set", claimed("ours"), volumehealth.DeviceReplaced},
		{"set-b", "set", claimed("ours"), volumehealth.ConnectionLost},
		{"set-c", "set", claimed("ours"), volumehealth.FilesystemShutDown},
		{"single", "one", corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{VolumeClaimTemplate: &corev1.PersistentVolumeClaimTemplate{
			Spec: corev1.PersistentVolumeClaimSpec{
				AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
				Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
			},
		}}}, volumehealth.FilesystemReadOnly},
		{"bare", "", claimed("ours"), volumehealth.DeviceReplaced},
		{"other", "others", claimed("theirs"), volumehealth.DeviceReplaced},
		{"waits", "waiting", claimed("ours"), volumehealth.ConnectionBroken},
	} {
		p.makePod(t, pod.name, pod.controller, pod.source)
		p.report(t, pod.name, pod.reason)
	}

	quick := []string{"--leader-election-lease-duration=5s", "--leader-election-renew-deadline=3s", "--leader-election-retry-period=500ms"}
	idle := must[string](t)(api.StartDriver(t.Context(), restarter, "restarter-idle", append(quick, "--restart-pods-on-lost-volumes=false")...))
	for _, reason := range volumehealth.Lost() {
		eventually(t, "without the flag, it is counted what would be deleted for "+reason, func() bool {
			return metric(t, idle, fmt.Sprintf("rds_csi_pods_restarts_withheld_total{reason=%q}", reason)) == 1
		})
	}
	if names := p.terminating(t); len(names) != 0 || metric(t, idle, "rds_csi_pod_restarter_leader") != 1 {
		t.Fatalf("without the flag, %v are being deleted", names)
	}
	if err := api.KillDriver("restarter-idle"); err != nil {
		t.Fatal(err)
	}

	process := must[string](t)(api.StartDriver(t.Context(), restarter, "restarter", quick...))
	left := map[string]bool{"set-a": true, "set-b": true, "set-c": true}
	eventually(t, "the pod with the ephemeral volume is deleted", func() bool { return len(p.events(t, "single", restart.RestartedForLostVolume)) == 1 })
	for round := range 3 {
		current := ""
		eventually(t, fmt.Sprint("a pod of the set is deleted, round ", round), func() bool {
			for _, name := range p.terminating(t) {
				if left[name] {
					current = name
				}
			}
			return current != ""
		})
		delete(left, current)
		p.waits(t, process, "while it ends", len(left), func() { p.makePod(t, fmt.Sprint("set-next-", round), "set", claimed("ours")) })
		p.waits(t, process, "while its replacement starts", len(left), func() { p.end(t, current) })
		for name := range left {
			if _, err := api.Deletion("pods", name); !errors.Is(err, cluster.ErrNoDeletion) {
				t.Fatalf("round %d: %s was deleted although %s isn't replaced: %v", round, name, current, err)
			}
		}
		p.report(t, fmt.Sprint("set-next-", round))
	}
	eventually(t, "people are told of the bare pod", func() bool { return len(p.events(t, "bare", restart.VolumeLost)) == 1 })

	for _, name := range []string{"set-a", "set-b", "set-c", "single"} {
		deletion, err := api.Deletion("pods", name)
		if err != nil || deletion.User != api.AccountUser(restarter) {
			t.Errorf("%s: got %+v, %v, want a deletion by the restarter", name, deletion, err)
		}
		eventually(t, "one event on "+name, func() bool { return len(p.events(t, name, restart.RestartedForLostVolume)) == 1 })
	}
	for _, name := range []string{"bare", "other", "waits", "set-next-0", "set-next-1", "set-next-2"} {
		if deletion, err := api.Deletion("pods", name); !errors.Is(err, cluster.ErrNoDeletion) {
			t.Errorf("%s: got %+v, %v, want no deletion", name, deletion, err)
		}
	}
	if err := api.KillDriver("restarter"); err != nil {
		t.Fatal(err)
	}
}

// waits has something happen, and returns when the restarter has looked at the set again and found that its lost pods
// must wait.
func (p place) waits(t *testing.T, process, what string, lost int, happen func()) {
	t.Helper()
	const waited = `rds_csi_pod_restart_actions_total{action="wait"}`
	before := metric(t, process, waited)
	happen()
	eventually(t, what+", the others wait", func() bool { return lost == 0 || metric(t, process, waited) >= before+float64(lost) })
}
